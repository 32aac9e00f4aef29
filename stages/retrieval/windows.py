"""Windows of users' ratings, side by side in rows, for a sequence model to learn from."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from stages.data.pairs import cumcount_and_size
from stages.models.rating_matrices import time_gaps
from stages.retrieval.packing import pack

# An epoch of a large data set is a random part of it, so that it is validated often enough.
MAX_STEPS = 384


class Ratings(NamedTuple):
    """Ratings, sorted by user and time."""

    user_index: np.ndarray  # [ratings] positions in user_ids
    movie_index: np.ndarray  # [ratings] positions in movie_ids
    timestamps: np.ndarray  # [ratings] int64, seconds
    is_low: np.ndarray  # [ratings] bool


def windows(user_index: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Cut each user's ratings into windows, so that every rating but the first is a target.

    A user's first window ends at the newest rating. Where older ratings are left, the second ends a
    random offset of 1 to `length` rows before the newest, and each further one `length` rows before
    the previous one. For example, with `length` 2, so windows of 3 rows, and offset 1:

        user  rows     windows
        A     0 1      [-1, 0, 1]
        B     2 3 4 5  [ 3, 4, 5]  the newest ratings
                       [ 2, 3, 4]  ends 1 row before the newest

    Args:
        user_index: [ratings] users, of whom each has all rows together, the oldest rating first.
        length: Positions of a window.
        rng: Draws the offsets.

    Returns:
        [n, length + 1] rows, -1 as padding on the left.
    """
    ends = np.flatnonzero(np.append(user_index[1:] != user_index[:-1], True)) + 1
    counts = np.diff(ends, prepend=0)
    starts = ends - counts
    is_long = counts > length + 1
    offsets = np.where(is_long, rng.integers(1, length + 1, len(counts)), counts)
    num_windows = 1 + np.maximum(-(-(counts - offsets - 1) // length), 0)
    users = np.repeat(np.arange(len(ends)), num_windows)
    number, _ = cumcount_and_size(users)  # of a window among its user's, from 0
    rows_after = np.where(number == 0, 0, offsets[users] + (number - 1) * length)
    position = (counts[users] - rows_after)[:, None] - np.arange(length + 1, 0, -1)
    rows = starts[users][:, None] + np.maximum(position, 0)
    return np.where(position >= 0, rows, -1)


def packed_rows(ratings: Ratings, window_rows: np.ndarray) -> np.ndarray:
    """Put the windows side by side into rows of `length` positions, without their padding.

    A position has a rating and the next one. Windows of a single rating are left out.

    Args:
        ratings: The ratings.
        window_rows: [n, length + 1] from `windows`.

    Returns:
        [rows, 7, length] int32: movies, their time gaps, whether they are rated low; the next
        movies, whether these are rated low; positions in the window (the last one is
        `length` - 1); and the window, by a number that no other window of the row has. At positions
        that are left, movies, next movies and the window are -1, and the others 0.
    """
    window_rows = window_rows[window_rows[:, -2] >= 0]
    length = window_rows.shape[1] - 1
    mask = window_rows >= 0
    movies, is_low = ratings.movie_index[window_rows], ratings.is_low[window_rows]
    gaps = time_gaps(ratings.timestamps[window_rows], mask)
    has_next = mask[:, :-1]
    lengths = has_next.sum(axis=1)
    row, offset = pack(lengths, length)
    window, position = has_next.nonzero()
    column = offset[window] + position - (length - lengths[window])
    packed = np.zeros((row.max(initial=0) + 1, 7, length), dtype=np.int32)
    packed[:, [0, 3, 6]] = -1
    values = [values[:, :-1][has_next] for values in (movies, gaps, is_low)]
    values += [values[:, 1:][has_next] for values in (movies, is_low)]
    for channel, channel_values in enumerate((*values, position, offset[window])):
        packed[row[window], channel, column] = channel_values
    return packed


def batches(
    ratings: Ratings, length: int, size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray]]:
    """Yield an epoch: all windows once, in random order, or as many as `MAX_STEPS` batches of them.

    The windows are packed, so they fill fewer batches. Rows from the start of the order fill up the
    last batch.

    Args:
        ratings: The ratings.
        length: Positions of a window.
        size: Rows of a batch.
        rng: Draws the windows and their order.

    Yields:
        [size, 7, length] rows of `packed_rows`.
    """
    rows = windows(ratings.user_index, length, rng)
    rows = rows[rng.permutation(len(rows))[: MAX_STEPS * size]]
    packed = packed_rows(ratings, rows)
    steps = -(-len(packed) // size)
    order = np.resize(rng.permutation(len(packed)), steps * size)
    for start in range(0, len(order), size):
        yield (packed[order[start : start + size]],)
