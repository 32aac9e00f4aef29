import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from stages.models import item_item
from stages.models.item_item import (
    fit_item_item,
    gram,
    model_arrays,
    most_popular_ids,
    recommend,
)
from tests.small_tables import low_rated_pairs, seen_pairs, user_movie_pairs


def test_the_sums_of_the_weights_order_the_unseen_movies() -> None:
    weights = np.array([[0, 1, 2], [5, 0, 4], [0, 0, 0]], np.float32)
    arrays = model_arrays(np.array([10, 20, 30]), weights, low_weight=0, recency=0)
    seen = seen_pairs([(7, 10), (7, 99)])
    lists = recommend(arrays, np.array([7]), seen, count=5)
    assert lists.rows() == [(7, 30, 2.0, 1), (7, 20, 1.0, 2)]


def test_a_rated_movie_that_is_no_positive_is_left_out_and_adds_nothing_to_the_scores() -> None:
    weights = np.array([[0, 1, 2, 3], [50, 0, 40, 30], [0] * 4, [0] * 4], np.float32)
    arrays = model_arrays(np.array([10, 20, 30, 40]), weights, low_weight=0, recency=0)
    # User 7 has rated movie 20 low, whose weights are large; it is a positive of user 8.
    seen = seen_pairs([(7, 10), (8, 10), (8, 20)], others=[(7, 20), (7, 99), (9, 10)])
    lists = recommend(arrays, np.array([7, 8, 9]), seen, count=5)
    assert lists.filter(user_id=7).rows() == [(7, 40, 3.0, 1), (7, 30, 2.0, 2)]
    assert lists.filter(user_id=8).rows() == [(8, 30, 42.0, 1), (8, 40, 33.0, 2)]
    # User 9 has no positive: all scores are 0, and the movies are in the order of their ids.
    assert lists.filter(user_id=9).rows() == [(9, 20, 0, 1), (9, 30, 0, 2), (9, 40, 0, 3)]


def test_a_low_rating_adds_its_weights_at_the_weight_of_a_low_rating() -> None:
    weights = np.array([[0, 1, 2, 3], [50, 0, 40, 30], [0] * 4, [0] * 4], np.float32)
    arrays = model_arrays(np.array([10, 20, 30, 40]), weights, low_weight=0.1, recency=0)
    seen = seen_pairs([(7, 10)], others=[(7, 20), (9, 20)])
    lists = recommend(arrays, np.array([7, 9]), seen, count=5)
    assert lists.filter(user_id=7).rows() == [(7, 30, 6.0, 1), (7, 40, 6.0, 2)]
    assert lists.filter(user_id=9).rows() == [(9, 10, 5.0, 1), (9, 30, 4.0, 2), (9, 40, 3.0, 3)]


def test_older_ratings_have_less_weight() -> None:
    weights = np.array([[0, 1, 0, 12], [0, 0, 6, 0], [0] * 4, [0] * 4], np.float32)
    arrays = model_arrays(np.array([10, 20, 30, 40]), weights, low_weight=0.5, recency=1)
    # From the newest: movie 99, which the model lacks, then 20 and the low rating 10.
    seen = seen_pairs([(7, 20), (7, 99)], others=[(7, 10)])
    lists = recommend(arrays, np.array([7]), seen, count=5)
    assert lists.rows() == [(7, 30, 6 / 2, 1), (7, 40, 12 * 0.5 / 3, 2)]
    # A movie without a rating has neither a value nor an age.
    is_told = pl.col("movie_id") != 20
    seen = seen.with_columns(pl.when(is_told).then(n).alias(n) for n in ("positive", "age"))
    lists = recommend(arrays, np.array([7]), seen, count=5)
    assert lists.rows() == [(7, 40, 12 * 0.5 / 3, 1), (7, 30, 0, 2)]


def test_the_batch_size_does_not_change_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    arrays = model_arrays(np.arange(1, 21), rng.random((20, 20), dtype=np.float32), 0.5, 1.0)
    users = np.arange(1, 31)
    pairs = [(u, m) for u in users for m in rng.choice(np.arange(1, 21), 5, replace=False)]
    seen = seen_pairs(pairs[::2], others=pairs[1::2])
    lists = recommend(arrays, users, seen, count=8)
    assert lists["user_id"].n_unique() == 30
    monkeypatch.setattr(item_item, "SCORE_BATCH_USERS", 7)
    assert recommend(arrays, users, seen, count=8).equals(lists)


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
    assert arrays["low_weight"] == 0


def test_a_low_rating_has_its_weight_in_the_matrix() -> None:
    positives = user_movie_pairs([(1, 3), (2, 3), (1, 2), (2, 1), (3, 1)])
    # Movie 2 is not among the most popular, and user 9 has no positive.
    low = low_rated_pairs([(1, 1), (3, 2), (3, 3), (9, 3)])
    arrays = fit_item_item(positives, 2, lambda matrix: matrix.toarray(), low, 0.5)
    assert arrays["weights"].tolist() == [[0.5, 1], [1, 1], [1, 0.5]]
    assert arrays["low_weight"] == np.float32(0.5)
