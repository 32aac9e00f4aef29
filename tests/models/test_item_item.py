import numpy as np
import pytest
import scipy.sparse as sp

from stages.models import item_item
from stages.models.item_item import fit_item_item, gram, most_popular_ids, recommend
from tests.small_tables import user_movie_pairs


def test_the_sums_of_the_weights_order_the_unseen_movies() -> None:
    weights = np.array([[0, 1, 2], [5, 0, 4], [0, 0, 0]], np.float32)
    arrays = {"movie_ids": np.array([10, 20, 30]), "weights": weights}
    positives = user_movie_pairs([(7, 10), (7, 99)])
    lists = recommend(arrays, np.array([7]), positives, count=5)
    assert lists.rows() == [(7, 30, 2.0, 1), (7, 20, 1.0, 2)]


def test_the_batch_size_does_not_change_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "movie_ids": np.arange(1, 21),
        "weights": rng.random((20, 20), dtype=np.float32),
    }
    users = np.arange(1, 31)
    pairs = [(u, m) for u in users for m in rng.choice(np.arange(1, 21), 5, replace=False)]
    positives = user_movie_pairs(pairs)
    lists = recommend(arrays, users, positives, count=8)
    assert lists["user_id"].n_unique() == 30
    monkeypatch.setattr(item_item, "SCORE_BATCH_USERS", 7)
    assert recommend(arrays, users, positives, count=8).equals(lists)


def test_the_most_popular_movies_are_limited_and_sorted_by_id() -> None:
    positives = user_movie_pairs([(1, 3), (2, 3), (1, 2), (2, 1), (3, 1)])
    assert most_popular_ids(positives, 2).tolist() == [1, 3]


def test_a_gram_matrix_is_computed_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_item, "GRAM_BATCH_MOVIES", 3)
    dense = np.random.default_rng(0).integers(0, 2, (9, 7)).astype(np.float32)
    product = gram(sp.csr_array(dense), np.float64)
    assert product.dtype == np.float64
    assert np.array_equal(product, dense.T @ dense)


def test_a_model_has_the_weights_of_its_movies() -> None:
    positives = user_movie_pairs([(1, 3), (2, 3), (1, 2), (2, 1), (3, 1)])
    arrays = fit_item_item(positives, 2, lambda matrix: matrix.toarray())
    assert arrays["movie_ids"].tolist() == [1, 3]
    assert arrays["weights"].tolist() == [[0, 1], [1, 1], [1, 0]]
