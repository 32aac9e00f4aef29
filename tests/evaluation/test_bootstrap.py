import math

import numpy as np
import pytest

from stages.evaluation.bootstrap import paired_intervals


def test_the_interval_of_no_difference_holds_zero_and_that_of_a_constant_does_not() -> None:
    rng = np.random.default_rng(1)
    differences = np.column_stack([np.full(200, 0.2), np.tile([1.0, -1.0], 100)])
    low, high = paired_intervals(differences, 500, rng)
    assert low[0] == pytest.approx(0.2)
    assert high[0] == pytest.approx(0.2)
    assert low[1] < 0 < high[1]
    # The mean of 200 draws of +-1 has the standard error 1 / sqrt(200), so 95% is +-0.139.
    assert high[1] - low[1] == pytest.approx(2 * 1.96 / math.sqrt(200), rel=0.15)


def test_all_columns_share_the_sampled_users() -> None:
    values = np.random.default_rng(2).random((50, 1))
    low, high = paired_intervals(np.hstack([values, values]), 100, np.random.default_rng(3))
    assert low[0] == low[1]
    assert high[0] == high[1]
