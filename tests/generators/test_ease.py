import numpy as np
import scipy.sparse as sp

from stages.generators.ease import Params, ease_weights, fit
from tests.small_tables import low_rated_pairs, user_movie_pairs


def test_the_weights_solve_the_constrained_regression() -> None:
    matrix = sp.csr_array(np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.float32))
    weights = ease_weights(matrix, 2.0).astype(np.float64)
    assert np.diag(weights).tolist() == [0] * 6
    dense = matrix.toarray()
    # The gradient X'X B + l2 B - X'X vanishes off the diagonal.
    gradient = dense.T @ dense @ weights + 2.0 * weights - dense.T @ dense
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-3


def test_the_model_is_limited_to_the_most_popular_movies() -> None:
    positives = user_movie_pairs([(1, 3), (2, 3), (1, 2), (2, 1), (3, 1)])
    params = Params(regularization=1.0, low_weight=0.0, recency=0.5, max_movies=2)
    arrays = fit(positives, low_rated_pairs(), params)
    assert arrays["movie_ids"].tolist() == [1, 3]
    assert arrays["weights"].shape == (2, 2)
    assert arrays["weights"].dtype == np.float32


def test_the_weights_count_low_ratings_in_part() -> None:
    positives = user_movie_pairs([(1, 1), (1, 2), (2, 1), (3, 2), (3, 3), (4, 3), (4, 1)])
    low = low_rated_pairs([(2, 3), (4, 2)])
    params = Params(regularization=1.0, low_weight=0.5, recency=0.25, max_movies=9)
    matrix = np.array([[1, 1, 0], [1, 0, 0.5], [0, 1, 1], [1, 0.5, 1]], np.float32)
    expected = ease_weights(sp.csr_array(matrix), 1.0)
    arrays = fit(positives, low, params)
    assert np.allclose(arrays["weights"], expected)
    assert (arrays["low_weight"], arrays["recency"]) == (0.5, 0.25)
