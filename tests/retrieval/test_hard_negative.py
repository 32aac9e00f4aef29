import numpy as np
import pytest

from tests.retrieval.small_models import build_small


def test_hard_negatives_are_the_highest_scoring_movies_that_are_no_positives(tables: dict) -> None:
    _, model, _ = build_small(
        "hard_negative", tables, num_negative_candidates=4000, num_hard_negatives=1
    )
    scores = np.zeros((1, model.w["bias"].shape[0]), np.float32)
    scores[0, :4] = [2, 5, 3, 1]
    positive_weights = np.zeros_like(scores)
    positive_weights[0, [0, 1]] = 1
    loss = float(model.positive_loss(scores, positive_weights))
    # The positives score 2 and 5. The hardest negative scores 3, and 4000 candidates of 40 movies
    # include it.
    expected = np.log1p(np.exp(3.0 - 2)) + np.log1p(np.exp(3.0 - 5))
    assert loss == pytest.approx(expected, rel=1e-5)
