"""Pairs of ids as int64 keys, groups of equal ids, and lists: arrays of millions of rows."""

from collections.abc import Callable

import numpy as np
import polars as pl


def pair_keys(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Encode pairs as int64 keys that sort like the pairs: `high` * 2^32 + `low`.

    Both hold numbers from 0 to 2^32 - 1 (`high` up to 2^31 - 1) and broadcast. For example:

        high  low  key
        0     7    7
        1     0    4294967296
        1     2    4294967298
    """
    return np.left_shift(high, 32, dtype=np.int64) | low


def sorted_pair_keys(table: pl.DataFrame) -> np.ndarray:
    """Return the sorted keys of all (user_id, movie_id) rows."""
    users, movies = table["user_id"].to_numpy(), table["movie_id"].to_numpy()
    return np.sort(pair_keys(users, movies))


def sorted_unique(keys: np.ndarray) -> np.ndarray:
    """Return the sorted unique keys; faster than `numpy.unique`, which hashes."""
    ordered = np.sort(keys)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]


def isin_sorted(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return which of `keys` are in `sorted_keys`, in the shape of `keys`."""
    if not len(sorted_keys):
        return np.zeros(keys.shape, dtype=bool)
    index = np.searchsorted(sorted_keys, keys).clip(max=len(sorted_keys) - 1)
    return sorted_keys[index] == keys


def count_at_most(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return how many of `sorted_keys` are <= each of `keys`, in the shape of `keys`.

    The keys are searched in ascending order, so that neighbouring searches touch the same memory:
    twice as fast for millions of keys. For example, with `sorted_keys` [10, 20, 20, 30]:

        keys          [25, 10, 20]
        searched as   [10, 20, 25] -> [1, 3, 3]
        returned      [3, 1, 3]
    """
    order = np.argsort(keys, axis=None)
    counts = np.empty(keys.size, dtype=np.int64)
    counts[order] = np.searchsorted(sorted_keys, keys.ravel()[order], side="right")
    return counts.reshape(keys.shape)


def deduplicate(
    table: pl.DataFrame, choose: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """Return `table` with those rows of a repeated (user, movie) pair that `choose` keeps.

    Args:
        table: user_id and movie_id (numbers) and `row`, which is unique.
        choose: Gets all rows whose pair occurs more than once, and returns the rows to keep.
            These are few or none, so all other rows are passed through without a look.
    """
    keys = pair_keys(table["user_id"].to_numpy(), table["movie_id"].to_numpy())
    ordered = np.sort(keys)
    repeated_keys = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated_keys):
        return table
    is_repeated = pl.Series(isin_sorted(repeated_keys, keys))
    rows_to_keep = choose(table.filter(is_repeated))["row"]
    return table.filter(~is_repeated | table["row"].is_in(rows_to_keep.implode()))


def latest_ratings(ratings: pl.DataFrame) -> pl.DataFrame:
    """Keep the latest of several RATINGS of one movie by one user; at equal times the last row."""
    pair = ["user_id", "movie_id"]
    return deduplicate(
        ratings, lambda rows: rows.sort("timestamp", "row").unique(pair, keep="last")
    )


def group_starts(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of the first of each group of equal `ids` side by side, and its size.

    For example, `ids` [4, 4, 9, 9, 9] give [0, 2] and [2, 3].
    """
    starts = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 1))
    return starts, np.diff(starts, append=len(ids))


def cumcount_and_size(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each of the sorted `ids`, its index in its group and the group's size.

    For example:

        ids    [4, 4, 9, 9, 9]
        index  [0, 1, 0, 1, 2]
        size   [2, 2, 3, 3, 3]
    """
    starts, sizes = group_starts(ids)
    return np.arange(len(ids)) - np.repeat(starts, sizes), np.repeat(sizes, sizes)


def list_sizes_and_values(lists: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the int64 size of each list of numbers, and the numbers of all lists, concatenated.

    Arrow's arrays are views. For one user, an expression of Polars takes five times as long.

    Args:
        lists: No list and no number is null.
    """
    array = lists.to_arrow()
    offsets = array.offsets.to_numpy()
    return np.diff(offsets), array.values.to_numpy()[offsets[0] : offsets[-1]]


def concat_ranges(first: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the ranges [first, first + size), concatenated.

    For example, `first` [5, 0, 9] and `sizes` [2, 0, 3] give [5, 6, 9, 10, 11].
    """
    return np.arange(sizes.sum()) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
