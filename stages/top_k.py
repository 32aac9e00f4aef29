"""Lists of the best unseen movies, cut from scored ones."""

import dataclasses
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.common.params import Range
from stages.common.tables import RECOMMENDATIONS
from stages.pairs import contains, pair_keys, seen_keys, spans

USERS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class CandidateParams:
    """`count`: how many movies every generator recommends to a user."""

    count: Annotated[int, Range(1, 10_000)]


def interactions(likings: pl.DataFrame, users: np.ndarray, movies: np.ndarray) -> sp.csr_array:
    """[users, movies] float32 ones where a user liked a movie; both id arrays are sorted.

    Likings of other users or movies are left out.
    """
    known = likings.filter(pl.col("user_id").is_in(users), pl.col("movie_id").is_in(movies))
    rows = np.searchsorted(users, known["user_id"].to_numpy())
    columns = np.searchsorted(movies, known["movie_id"].to_numpy())
    ones = np.ones(known.height, dtype=np.float32)
    return sp.csr_array((ones, (rows, columns)), shape=(len(users), len(movies)))


class UserBatch(NamedTuple):
    """Some users: their places, the keys of what they have seen, the most that one has."""

    places: np.ndarray
    seen: np.ndarray
    longest: int


def user_batches(users: np.ndarray, likings: pl.DataFrame) -> list[UserBatch]:
    """`USERS_AT_ONCE` of the sorted `users` each; `likings` are what users have seen.

    Users who have seen equally much are together: one busy user would make all others of a batch
    search as far.
    """
    seen, nothing = seen_keys(likings), np.zeros_like(users)
    first, end = (np.searchsorted(seen, pair_keys(ids, nothing)) for ids in (users, users + 1))
    sizes = end - first
    order = np.argsort(sizes, kind="stable")
    made = []
    for start in range(0, len(users), USERS_AT_ONCE):
        places = np.sort(order[start : start + USERS_AT_ONCE])
        rows = spans(first[places], sizes[places])
        made.append(UserBatch(places, seen[rows], int(sizes[places].max())))
    return made


def in_order(lists: list[pl.DataFrame]) -> pl.DataFrame:
    """RECOMMENDATIONS of batches of different users, each sorted, as one sorted table."""
    if len(lists) == 1:
        return lists[0]
    table = pl.concat([pl.DataFrame(schema=RECOMMENDATIONS), *lists])
    users = table["user_id"].to_numpy()
    first = np.flatnonzero(np.diff(users, prepend=users[:1] - 1))  # a user's rows are together
    sizes = np.diff(first, append=len(users))
    order = np.argsort(users[first])
    return table[spans(first[order], sizes[order])]


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
        "user_id": np.broadcast_to(users[:, None], movies.shape)[keep].astype(np.int32),
        "movie_id": movies[keep].astype(np.int32),
        "score": scores[keep].astype(np.float32),
        "rank": rank[keep].astype(np.uint16),
    }
    return pl.DataFrame(columns, schema=RECOMMENDATIONS)


def top_columns(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` best columns of each row, best first; of equal scores the lower column.

    Returns:
        [n, count] column numbers and [n, count] their scores.
    """
    count = min(count, scores.shape[1])
    if not count:
        return np.empty((len(scores), 0), dtype=np.int64), scores[:, :0]
    # Values alone are partitioned several times as fast as places.
    place = scores.shape[1] - count
    worst = np.partition(scores, place, axis=1)[:, place : place + 1]
    chosen, equal = scores > worst, scores == worst
    room = count - chosen.sum(axis=1, keepdims=True)
    crowded = (equal.sum(axis=1, keepdims=True) > room)[:, 0]
    equal[crowded] &= np.cumsum(equal[crowded], axis=1) <= room[crowded]
    columns = (chosen | equal).nonzero()[1].reshape(-1, count)
    found = np.take_along_axis(scores, columns, axis=1)
    by_score = np.argsort(-found, axis=1, kind="stable")
    return (
        np.take_along_axis(columns, by_score, axis=1),
        np.take_along_axis(found, by_score, axis=1),
    )
