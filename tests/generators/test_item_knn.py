import numpy as np
import scipy.sparse as sp

from stages.generators.item_knn import Params, bm25, neighbour_weights

MATRIX = sp.csr_array(
    np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]], np.float32)
)


def test_each_movie_keeps_its_most_similar_neighbours() -> None:
    weights = neighbour_weights(MATRIX, Params(neighbours=1, k1=1.2, b=0.75, max_movies=9))
    assert (weights > 0).sum(axis=1).max() == 1
    assert weights[0].argmax() == 1
    assert np.diag(weights).tolist() == [0] * 4


def test_bm25_discounts_active_users_and_popular_movies() -> None:
    weights = bm25(MATRIX, 1.2, 0.75).toarray()
    assert (weights > 0).tolist() == (MATRIX.toarray() > 0).tolist()
    assert weights[0, 0] < weights[0, 1]  # movie 0 has three positives, movie 1 two
    assert weights.dtype == np.float32
    flat = bm25(MATRIX, 1.2, 0.0).toarray()
    assert np.allclose(flat[flat > 0], np.log(4) - np.log1p(2))
