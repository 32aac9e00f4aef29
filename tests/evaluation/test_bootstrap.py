import math

import numpy as np
import polars as pl
import pytest

from stages.evaluation.bootstrap import (
    holm,
    mean_intervals,
    paired_intervals,
    paired_p_values,
)


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


def test_a_user_without_a_value_does_not_count() -> None:
    values = np.random.default_rng(4).random((300, 1))
    with_gaps = np.vstack([values, np.full((300, 1), np.nan)])
    low, high = paired_intervals(with_gaps, 500, np.random.default_rng(5))
    assert low[0] < values.mean() < high[0]
    error = values.std() / math.sqrt(300)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_the_ends_are_percentiles_of_the_means_over_the_drawn_users() -> None:
    values = np.random.default_rng(6).random((5, 3))
    values[:, 2] = [math.nan, math.nan, 3, math.nan, 7]
    for columns in (values[:, :2], values):
        low, high = paired_intervals(columns, 40, np.random.default_rng(7))
        rng = np.random.default_rng(7)
        samples = [columns[rng.integers(0, 5, 5)] for _ in range(40)]
        counts = [np.maximum((~np.isnan(sample)).sum(axis=0), 1) for sample in samples]
        means = np.stack([np.nansum(s, axis=0) / n for s, n in zip(samples, counts)])
        assert low == pytest.approx(np.quantile(means, 0.025, axis=0))
        assert high == pytest.approx(np.quantile(means, 0.975, axis=0))


def test_the_means_of_systems_leave_out_users_without_a_value_and_depend_on_the_seed() -> None:
    tables = {
        "a": pl.DataFrame({"x": [0.0, 0.5, 0.7], "y": [math.nan, 2.0, math.nan]}),
        "b": pl.DataFrame({"x": [1.0, math.nan, 0.5], "y": [math.nan] * 3}),
    }
    table = mean_intervals(tables, ["x", "y"], 3, 0)
    assert table.columns == ["system", "metric", "value", "low", "high"]
    assert table.drop("low", "high").rows() == [
        ("a", "x", pytest.approx(0.4)),
        ("a", "y", 2.0),
        ("b", "x", 0.75),
        ("b", "y", 0.0),
    ]
    others = [mean_intervals(tables, ["x", "y"], 3, seed) for seed in range(5)]
    assert table.equals(others[0])
    assert len({other["low"][0] for other in others}) > 1


def test_p_values_are_those_of_a_z_test() -> None:
    halves, balanced = np.tile([1.0, 0.0], 4), np.tile([1.0, -1.0], 4)
    differences = np.column_stack([halves, balanced, np.zeros(8)])
    p_values = paired_p_values(differences)
    z = 0.5 / (2 / 7) ** 0.5 * 8**0.5  # the variance of the halves is 8 * 0.25 / 7
    assert p_values[0] == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert p_values[1:].tolist() == [1, 1]
    assert paired_p_values(np.ones((5, 1))).tolist() == [0]


def test_p_values_of_one_and_of_two_users() -> None:
    assert paired_p_values(np.array([[0.3, 0.0]])).tolist() == [0, 1]
    # The mean 0.5 of 0 and 1 has the standard error 0.5.
    expected = math.erfc(1 / math.sqrt(2))
    assert paired_p_values(np.array([[0.0], [1.0]])) == pytest.approx(expected)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.5, 0.9])).tolist() == [1, 1]
    assert holm(np.array([0.02])).tolist() == [0.02]
