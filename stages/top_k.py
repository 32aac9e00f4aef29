"""Lists of the best unseen movies, cut from scored ones."""

import dataclasses
from typing import Annotated

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.common.params import Range
from stages.common.tables import RECOMMENDATIONS


@dataclasses.dataclass(frozen=True)
class CandidateParams:
    """`count`: how many movies every generator recommends to a user."""

    count: Annotated[int, Range(1, 10_000)]


def pair_keys(users: np.ndarray, movies: np.ndarray) -> np.ndarray:
    """One int64 per (user_id, movie_id) pair; arguments broadcast."""
    return (users.astype(np.int64) << 32) | movies.astype(np.int64)


def seen_keys(likings: pl.DataFrame) -> np.ndarray:
    """The sorted keys of all (user_id, movie_id) rows of `likings`."""
    users, movies = likings["user_id"].to_numpy(), likings["movie_id"].to_numpy()
    return np.sort(pair_keys(users, movies))


def contains(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which of `keys` are among `sorted_keys`; the shape of `keys`."""
    if not len(sorted_keys):
        return np.zeros(keys.shape, dtype=bool)
    place = np.searchsorted(sorted_keys, keys).clip(max=len(sorted_keys) - 1)
    return sorted_keys[place] == keys


def interactions(likings: pl.DataFrame, users: np.ndarray, movies: np.ndarray) -> sp.csr_array:
    """[users, movies] float32 ones where a user liked a movie; both id arrays are sorted.

    Likings of other users or movies are left out.
    """
    known = likings.filter(pl.col("user_id").is_in(users), pl.col("movie_id").is_in(movies))
    rows = np.searchsorted(users, known["user_id"].to_numpy())
    columns = np.searchsorted(movies, known["movie_id"].to_numpy())
    ones = np.ones(known.height, dtype=np.float32)
    return sp.csr_array((ones, (rows, columns)), shape=(len(users), len(movies)))


def best_unseen(
    users: np.ndarray, movies: np.ndarray, scores: np.ndarray, seen: np.ndarray, count: int
) -> pl.DataFrame:
    """The first `count` movies of each row that its user has not seen.

    Args:
        users: [n] user ids, ascending.
        movies: [n, k] movie ids, best first; -1 where a list has ended.
        scores: [n, k] their scores, descending.
        seen: Sorted keys of seen pairs.
        count: How many to keep; fewer where a list has not as many.

    Returns:
        RECOMMENDATIONS, sorted by user and rank.
    """
    keep = (movies >= 0) & ~contains(seen, pair_keys(users[:, None], movies))
    rank = np.cumsum(keep, axis=1)
    keep &= rank <= count
    columns = {
        "user_id": np.broadcast_to(users[:, None], movies.shape)[keep],
        "movie_id": movies[keep],
        "score": scores[keep],
        "rank": rank[keep],
    }
    return pl.DataFrame(columns).cast(dict(RECOMMENDATIONS))


def longest_seen(likings: pl.DataFrame) -> int:
    """The largest number of likings of one user."""
    return int(likings.group_by("user_id").len()["len"].max() or 0)


def top_columns(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` best columns of each row, best first; of equal scores the lower column.

    Returns:
        [n, count] column numbers and [n, count] their scores.
    """
    count = min(count, scores.shape[1])
    chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count] if count else scores[:, :0]
    chosen = np.sort(chosen.astype(np.int64), axis=1)
    found = np.take_along_axis(scores, chosen, axis=1)
    by_score = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(chosen, by_score, axis=1), np.take_along_axis(found, by_score, axis=1)
