"""Windows of positives, and how they share rows."""

import numpy as np
import pytest

from stages.retrieval.data import TrainingData, packed_rows, windows
from stages.retrieval.packing import pack


def window_data(counts: list[int]) -> TrainingData:
    """The data of users with these numbers of positives, each of a different movie."""
    users = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    movies = np.arange(len(users), dtype=np.int32)
    empty = np.empty(0)
    return TrainingData(
        user_ids=np.arange(len(counts)),
        movie_ids=movies,
        user_index=users,
        movie_index=movies,
        timestamps=movies.astype(np.int64),
        low_user_index=empty,
        low_movie_index=empty,
        max_length=5,
        catalogue_ids=empty,
        catalogue_genres=empty,
    )


def test_windows_cover_every_positive_as_a_target() -> None:
    counts = [1, 2, 5, 23]
    data = window_data(counts)
    for seed in range(5):
        rows = windows(data, 5, np.random.default_rng(seed))
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

    rows = windows(window_data([2, 4]), 2, OffsetOne())
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
    data = window_data([1, 2, 5, 23, 4])
    window_rows = windows(data, 5, np.random.default_rng(0))
    packed = packed_rows(data, window_rows)
    movies, gaps, next_movies, positions, histories = packed.transpose(1, 0, 2)
    is_used = movies >= 0
    pairs = window_rows[:, :-1] >= 0
    expected = zip(window_rows[:, :-1][pairs], window_rows[:, 1:][pairs])
    assert sorted(zip(movies[is_used], next_movies[is_used])) == sorted(expected)
    assert ((next_movies == -1) == ~is_used).all()
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


def test_users_of_a_single_positive_give_one_empty_row() -> None:
    data = window_data([1, 1])
    packed = packed_rows(data, windows(data, 5, np.random.default_rng(0)))
    assert packed.shape == (1, 5, 5)
    assert (packed[0, [0, 2, 4]] == -1).all()
