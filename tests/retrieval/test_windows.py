"""Windows of ratings, and how they share rows."""

import numpy as np
import pytest

from stages.retrieval.data import ratings_in_order
from stages.retrieval.packing import pack
from stages.retrieval.windows import Ratings, packed_rows, windows
from tests.retrieval.small_models import build_small


def window_ratings(counts: list[int]) -> Ratings:
    """Users with these numbers of ratings, each of a different movie; every third one is low."""
    users = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    movies = np.arange(len(users), dtype=np.int32)
    return Ratings(users, movies, movies.astype(np.int64), movies % 3 == 0)


def test_low_ratings_are_between_the_positives_by_time(tables: dict) -> None:
    data, *_ = build_small("history", tables)
    assert len(data.low_user_index) > 100
    ratings = ratings_in_order(data, with_low_ratings=True)
    assert ratings.is_low.sum() == len(data.low_user_index)
    assert len(ratings.is_low) == len(data.user_index) + len(data.low_user_index)
    # Within a user by time; of one second, low ratings come first.
    keys = np.stack([ratings.user_index, ratings.timestamps, ~ratings.is_low], axis=1)
    assert (np.diff(keys, axis=0) != 0).any(axis=1).sum() > 100
    assert keys.tolist() == sorted(keys.tolist())
    low = {*zip(data.low_user_index, data.low_movie_index, data.low_timestamps)}
    rows = zip(ratings.user_index, ratings.movie_index, ratings.timestamps)
    assert {row for row, is_low in zip(rows, ratings.is_low) if is_low} == low
    positives = ratings_in_order(data, with_low_ratings=False)
    assert not positives.is_low.any()
    for values, others in zip(ratings[:3], positives[:3]):
        assert np.array_equal(values[~ratings.is_low], others)


def test_windows_cover_every_rating_as_a_target() -> None:
    counts = [1, 2, 5, 23]
    data = window_ratings(counts)
    for seed in range(5):
        rows = windows(data.user_index, 5, np.random.default_rng(seed))
        users = np.where(rows >= 0, data.user_index[np.maximum(rows, 0)], -1)
        pairs = (rows[:, :-1] >= 0) & (rows[:, 1:] >= 0)
        assert (users[:, :-1] == users[:, 1:])[pairs].all()
        assert (np.diff(rows, axis=1)[pairs] == 1).all()
        first = np.cumsum([0, *counts[:-1]])
        targets = set(data.movie_index.tolist()) - set(first.tolist())
        assert set(rows[:, 1:][pairs].tolist()) == targets


def test_windows_of_two_users_are_those_of_the_docstring() -> None:
    class OffsetOne:
        def integers(self, low: int, high: int, size: int) -> np.ndarray:
            assert (low, high) == (1, 3)
            return np.ones(size, dtype=np.int64)

    rows = windows(window_ratings([2, 4]).user_index, 2, OffsetOne())
    assert rows.tolist() == [[-1, 0, 1], [3, 4, 5], [2, 3, 4]]


def test_windows_are_packed_as_in_the_docstring() -> None:
    rows, offsets = pack(np.array([2, 5, 3, 1]), 5)
    assert rows.tolist() == [1, 0, 1, 2]
    assert offsets.tolist() == [3, 0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_packed_windows_fill_nearly_all_positions_and_never_overlap(seed: int) -> None:
    lengths = np.minimum(np.random.default_rng(seed).geometric(0.05, 3000), 30)
    rows, offsets = pack(lengths, 30)
    used = np.zeros((rows.max() + 1, 30), dtype=int)
    for row, offset, length in zip(rows, offsets, lengths):
        used[row, offset : offset + length] += 1
    assert used.max() == 1
    assert used.mean() > 0.99


def test_a_full_row_takes_the_least_room_that_is_enough() -> None:
    rows, _ = pack(np.array([6, 8, 2, 4]), 10)
    assert rows.tolist() == [1, 0, 0, 1]


def test_packed_rows_have_every_pair_of_a_movie_and_the_next_once() -> None:
    data = window_ratings([1, 2, 5, 23, 4])
    window_rows = windows(data.user_index, 5, np.random.default_rng(0))
    packed = packed_rows(data, window_rows)
    movies, gaps, is_low, next_movies, next_is_low, positions, histories = packed.transpose(1, 0, 2)
    is_used = movies >= 0
    pairs = window_rows[:, :-1] >= 0
    expected = zip(window_rows[:, :-1][pairs], window_rows[:, 1:][pairs])
    assert sorted(zip(movies[is_used], next_movies[is_used])) == sorted(expected)
    assert ((next_movies == -1) == ~is_used).all()
    assert (is_low == (is_used & (movies % 3 == 0))).all()
    assert (next_is_low == (is_used & (next_movies % 3 == 0))).all()
    assert ((histories == -1) == ~is_used).all()
    assert len(packed) < pairs.any(axis=1).sum()
    # A movie and the one to its right belong to one window if their numbers are equal.
    is_next = is_used[:, :-1] & (histories[:, :-1] == histories[:, 1:])
    assert (movies[:, 1:] == next_movies[:, :-1])[is_next].all()
    assert (np.diff(positions, axis=1)[is_next] == 1).all()
    ends = is_used & ~np.pad(is_next, [(0, 0), (0, 1)])
    assert (positions[ends] == 4).all()
    # One second between a user's movies; the first of a window has no gap.
    starts = is_used & ~np.pad(is_next, [(0, 0), (1, 0)])
    assert (gaps[starts] == 0).all()
    assert (gaps[is_used & ~starts] == 1).all()


def test_users_of_a_single_rating_give_one_empty_row() -> None:
    data = window_ratings([1, 1])
    packed = packed_rows(data, windows(data.user_index, 5, np.random.default_rng(0)))
    assert packed.shape == (1, 7, 5)
    assert (packed[0, [0, 3, 6]] == -1).all()
