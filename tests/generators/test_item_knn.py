import math

import numpy as np
import pytest
import scipy.sparse as sp

from stages.generators.item_knn import Params, bm25, neighbour_weights

MATRIX = sp.csr_array(
    np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]], np.float32)
)


def test_each_movie_keeps_its_most_similar_neighbours() -> None:
    weights = neighbour_weights(
        MATRIX, Params(neighbours=1, k1=1.2, b=0.75, recency=0, max_movies=9)
    )
    assert (weights > 0).sum(axis=1).max() == 1
    assert weights[0].argmax() == 1
    assert np.diag(weights).tolist() == [0] * 4


def test_bm25_discounts_active_users_and_popular_movies() -> None:
    weights = bm25(MATRIX, 1.2, 0.75).toarray()
    assert (weights > 0).tolist() == (MATRIX.toarray() > 0).tolist()
    assert weights[0, 0] < weights[0, 1]  # movie 0 has three positives, movie 1 two
    assert weights.dtype == np.float32


def test_bm25_is_that_of_a_plain_loop() -> None:
    # 4 users with 2, 1, 3 and 1 of the 3 movies.
    dense = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0]], np.float32)
    k1 = 1.2
    users, movies = dense.sum(axis=1).tolist(), dense.sum(axis=0).tolist()
    for b in (0.75, 0.0):
        expected = np.zeros((4, 3))
        for user, movie in zip(*dense.nonzero()):
            idf = math.log(3 / (1 + users[user]))
            length = 1 - b + b * movies[movie] / (7 / 3)
            expected[user, movie] = idf * (k1 + 1) / (k1 * length + 1)
        assert bm25(sp.csr_array(dense), k1, b).toarray() == pytest.approx(expected, abs=1e-6)
