"""Pairs of ids as single numbers, and runs of equal ids: what makes millions of rows quick."""

from collections.abc import Callable

import numpy as np
import polars as pl


def pair_keys(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """One int64 per pair, which sorts like it; numbers from 0 to 2^32 - 1; arguments broadcast."""
    return np.left_shift(high, 32, dtype=np.int64) | low


def seen_keys(likings: pl.DataFrame) -> np.ndarray:
    """The sorted keys of all (user_id, movie_id) rows of `likings`."""
    users, movies = likings["user_id"].to_numpy(), likings["movie_id"].to_numpy()
    return np.sort(pair_keys(users, movies))


def distinct(keys: np.ndarray) -> np.ndarray:
    """The different ones of `keys`, sorted; `numpy.unique` takes several times as long."""
    ordered = np.sort(keys)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]


def contains(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which of `keys` are among `sorted_keys`; the shape of `keys`."""
    if not len(sorted_keys):
        return np.zeros(keys.shape, dtype=bool)
    place = np.searchsorted(sorted_keys, keys).clip(max=len(sorted_keys) - 1)
    return sorted_keys[place] == keys


def ordered_places(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """How many of `sorted_keys` are at most each of `keys`; the shape of `keys`.

    Searched in their order, because neighbours touch the same memory: twice as fast in millions.
    """
    order = np.argsort(keys, axis=None)
    places = np.empty(keys.size, dtype=np.int64)
    places[order] = np.searchsorted(sorted_keys, keys.ravel()[order], side="right")
    return places.reshape(keys.shape)


def one_of_each(
    table: pl.DataFrame, choose: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """`table` without the rows that `choose` leaves out of those with the same user and movie.

    Args:
        table: user_id and movie_id, numbers, and `row`, which is different in all rows.
        choose: Gets the rows that share their user and movie with another one; they are few or
            none, so that the others need no look.
    """
    keys = pair_keys(table["user_id"].to_numpy(), table["movie_id"].to_numpy())
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return table
    again = pl.Series(contains(twice, keys))
    kept = choose(table.filter(again))["row"]
    return table.filter(~again | table["row"].is_in(kept.implode()))


def latest(ratings: pl.DataFrame) -> pl.DataFrame:
    """Of several RATINGS of one movie by one user the latest; of equally late ones the last row."""
    same = ["user_id", "movie_id"]
    return one_of_each(
        ratings, lambda rows: rows.sort("timestamp", "row").unique(same, keep="last")
    )


def runs(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of the sorted `ids`: its place among the equal ones, from 0; their number."""
    starts = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 1))
    sizes = np.diff(starts, append=len(ids))
    return np.arange(len(ids)) - np.repeat(starts, sizes), np.repeat(sizes, sizes)


def spans(first: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The numbers from each of `first` on, as many as its size says, one span after the other."""
    return np.arange(sizes.sum()) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
