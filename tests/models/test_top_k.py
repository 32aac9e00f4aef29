import numpy as np
import polars as pl
import pytest

from stages.data.pairs import sorted_pair_keys
from stages.models import top_k
from stages.models.top_k import (
    batch_users_by_seen,
    concat_user_lists,
    interaction_matrix,
    take_unseen,
    top_columns,
)
from tests.small_tables import scored_lists, seen_pairs, user_movie_pairs


def test_an_interaction_matrix_has_the_values_of_the_rows_that_it_keeps() -> None:
    rows = pl.DataFrame({"user_id": [1, 1, 2, 3], "movie_id": [30, None, 10, 10]})
    values = np.array([0.5, 7, 7, 0.25])
    matrix = interaction_matrix(rows, np.array([1, 3]), np.array([10, 20, 30]), values)
    assert matrix.dtype == np.float32
    assert matrix.toarray().tolist() == [[0, 0, 0.5], [0.25, 0, 0]]
    empty = np.array([], dtype=np.int32)
    assert interaction_matrix(rows, empty, np.array([10])).shape == (0, 1)
    assert interaction_matrix(rows, np.array([1]), empty).nnz == 0


def test_an_interaction_matrix_leaves_other_users_and_movies_out() -> None:
    positives = user_movie_pairs([(1, 20), (3, 10), (3, 30), (2, 10), (3, 99)])
    matrix = interaction_matrix(positives, np.array([1, 3]), np.array([10, 20, 30]))
    assert matrix.toarray().tolist() == [[0, 1, 0], [1, 0, 1]]
    assert matrix.dtype == np.float32


def test_unseen_movies_are_taken_up_to_the_end_of_a_list() -> None:
    movies = np.array([[4, 5, 6], [5, -1, -1]])
    scores = np.array([[3.0, 2.0, 1.0], [9.0, 0.0, 0.0]])
    seen = sorted_pair_keys(seen_pairs([(1, 4)]))
    lists = take_unseen(np.array([1, 2]), movies, scores, seen, 1)
    assert lists.rows() == [(1, 5, 2.0, 1), (2, 5, 9.0, 1)]


def test_top_columns_breaks_ties_by_column() -> None:
    columns, best = top_columns(np.array([[1.0, 3.0, 3.0, 0.0]]), 3)
    assert columns.tolist() == [[1, 2, 0]]
    assert best.tolist() == [[3.0, 3.0, 1.0]]


def test_top_columns_are_those_of_the_docstring() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.5], [0.7, 0.2, 0.1, 0.8], [0.3, 0.3, 0.3, 0.3]])
    columns, _ = top_columns(scores, 2)
    assert columns.tolist() == [[1, 2], [3, 0], [0, 1]]


def test_top_columns_equal_a_stable_sort_of_all_columns() -> None:
    rng = np.random.default_rng(0)
    with_ties = rng.integers(0, 5, (30, 40)).astype(np.float32)
    with_seen = np.where(rng.random((30, 40)) < 0.9, -np.inf, rng.random((30, 40)))
    for scores in (with_ties, with_seen):
        for count in (0, 1, 7, 39, 40, 50):
            columns, best = top_columns(scores, count)
            expected = np.argsort(-scores, axis=1, kind="stable")[:, :count]
            assert np.array_equal(columns, expected)
            assert np.array_equal(best, np.take_along_axis(scores, expected, axis=1))


def test_users_who_saw_equally_many_movies_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    users = np.arange(1, 31)
    pairs = [(u, m) for u in users for m in rng.choice(200, 1 + u, replace=False)]
    seen = seen_pairs(pairs[::2], others=pairs[1::2])
    monkeypatch.setattr(top_k, "SEARCH_BATCH_USERS", 10)
    batches = batch_users_by_seen(users, seen)
    assert [batch.max_seen for batch in batches] == [11, 21, 31]
    assert sorted(np.concatenate([batch.positions for batch in batches])) == list(range(30))
    for batch in batches:
        batch_seen = seen.filter(pl.col("user_id").is_in(users[batch.positions]))
        assert batch.seen.tolist() == sorted_pair_keys(batch_seen).tolist()


def test_lists_of_batches_are_concatenated_in_the_order_of_users() -> None:
    a, b = scored_lists([(2, 7, 0.9), (2, 8, 0.5), (9, 7, 0.1)]), scored_lists([(1, 8, 0.3)])
    table = concat_user_lists([a, a.clear(), b])
    assert table.select("user_id", "movie_id").rows() == [(1, 8), (2, 7), (2, 8), (9, 7)]
    assert table["rank"].to_list() == [1, 1, 2, 1]
    assert concat_user_lists([a]) is a
