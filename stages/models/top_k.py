"""Take the best unseen movies of scored lists."""

from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import Field

from stages.common.params import Section
from stages.common.tables import RECOMMENDATIONS
from stages.data.pairs import concat_ranges, group_starts, isin_sorted, pair_keys, sorted_pair_keys
from stages.parallel.executor import parallel_map

Exclude = Literal["rated", "positives"]
SEARCH_BATCH_USERS = 4096  # bounds the [users, k] lists that are searched at once


class CandidateParams(Section):
    """The lists of the candidate generators."""

    count: int = Field(ge=1, le=10_000)
    """Movies that every generator recommends to a user."""

    exclude: Exclude
    """Movies that no list holds: all that the user has rated before, or only the positives.

    With `positives`, nothing else is made of low ratings either: no model learns from them.
    """


def interaction_matrix(
    positives: pl.DataFrame,
    users: np.ndarray,
    movies: np.ndarray,
    values: np.ndarray | None = None,
) -> sp.csr_array:
    """Return a [users, movies] float32 matrix of the rows of `positives`.

    Args:
        positives: user_id and movie_id. Rows of other users or movies are left out.
        users: Sorted ids.
        movies: Sorted ids.
        values: The value of each row; 1 by default.
    """
    keep = np.full(positives.height, len(users) > 0 and len(movies) > 0)
    indices = []
    for ids, name in ((users, "user_id"), (movies, "movie_id")):
        keys = positives[name].to_numpy()
        indices.append(np.searchsorted(ids, keys))
        if len(ids):
            keep &= ids.take(indices[-1], mode="clip") == keys
    data = np.ones(positives.height, dtype=np.float32) if values is None else values
    entries = data[keep], tuple(index[keep] for index in indices)
    return sp.csr_array(entries, shape=(len(users), len(movies)), dtype=np.float32)


class UserBatch(NamedTuple):
    """Users that are searched at once."""

    positions: np.ndarray  # in the array of all users
    seen: np.ndarray  # sorted keys of their pairs in SEEN
    max_seen: int  # the most of these pairs that one of them has


def batch_users_by_seen(users: np.ndarray, seen: pl.DataFrame) -> list[UserBatch]:
    """Split the sorted `users` into batches of `SEARCH_BATCH_USERS`.

    Users who have seen equally many movies share a batch: a search must return as many more
    movies as the busiest user of its batch has seen.

    Args:
        users: Ids, ascending.
        seen: SEEN.
    """
    keys, zeros = sorted_pair_keys(seen), np.zeros_like(users)
    first, end = (np.searchsorted(keys, pair_keys(ids, zeros)) for ids in (users, users + 1))
    sizes = end - first
    order = np.argsort(sizes, kind="stable")
    batches = []
    for start in range(0, len(users), SEARCH_BATCH_USERS):
        positions = np.sort(order[start : start + SEARCH_BATCH_USERS])
        rows = concat_ranges(first[positions], sizes[positions])
        batches.append(UserBatch(positions, keys[rows], int(sizes[positions].max())))
    return batches


def concat_user_lists(lists: list[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate RECOMMENDATIONS of different users, each sorted, into one sorted table."""
    if len(lists) == 1:
        return lists[0]
    table = pl.concat([pl.DataFrame(schema=RECOMMENDATIONS), *lists])
    users = table["user_id"].to_numpy()
    first, sizes = group_starts(users)  # a user's rows are contiguous
    order = np.argsort(users[first])
    return table[concat_ranges(first[order], sizes[order])]


def take_unseen(
    users: np.ndarray, movies: np.ndarray, scores: np.ndarray, seen: np.ndarray, count: int
) -> pl.DataFrame:
    """Take the first `count` movies of each row that its user has not seen.

    Args:
        users: [n] user ids, ascending.
        movies: [n, k] movie ids, best first; -1 after the end of a list.
        scores: [n, k] their scores, descending.
        seen: Sorted keys of seen pairs.
        count: Movies to keep of a list, which may have fewer.

    Returns:
        RECOMMENDATIONS, sorted by user and rank.
    """
    keep = (movies >= 0) & ~isin_sorted(seen, pair_keys(users[:, None], movies))
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
    """Find the `count` best columns of each row, best first; of equal scores the lower column.

    `np.partition` of the values is several times as fast as `np.argpartition`, so the columns are
    taken by comparison with the worst score that is kept. With `count` 2:

        scores             worst   better than it   equal to it    columns
        [.1, .9, .5, .5]   .5      [0, 1, 0, 0]     [0, 0, 1, 1]   [1, 2], the first equal one
        [.7, .2, .1, .8]   .7      [0, 0, 0, 1]     [1, 0, 0, 0]   [3, 0]
        [.3, .3, .3, .3]   .3      [0, 0, 0, 0]     [1, 1, 1, 1]   [0, 1], the first two equal ones

    Returns:
        [n, count] columns and [n, count] their scores.
    """
    count = min(count, scores.shape[1])
    if not count:
        return np.empty((len(scores), 0), dtype=np.int64), scores[:, :0]
    split = scores.shape[1] - count
    worst = np.partition(scores, split, axis=1)[:, split : split + 1]
    better, equal = scores > worst, scores == worst
    room = count - better.sum(axis=1, keepdims=True)  # columns to take of the equal ones
    overflow = (equal.sum(axis=1, keepdims=True) > room)[:, 0]
    equal[overflow] &= np.cumsum(equal[overflow], axis=1) <= room[overflow]
    columns = (better | equal).nonzero()[1].reshape(-1, count)
    values = np.take_along_axis(scores, columns, axis=1)
    by_score = np.argsort(-values, axis=1, kind="stable")
    return (
        np.take_along_axis(columns, by_score, axis=1),
        np.take_along_axis(values, by_score, axis=1),
    )


def recommend_popular(
    arrays: dict[str, np.ndarray], users: np.ndarray, seen: pl.DataFrame, count: int
) -> pl.DataFrame:
    """Return RECOMMENDATIONS of the first unseen movies of one list for all users.

    Args:
        arrays: `movie_ids` and `counts`, their scores, best first.
        users: Ids, ascending.
        seen: SEEN.
        count: Movies per user.
    """

    def batch_lists(batch: UserBatch) -> pl.DataFrame:
        ids = users[batch.positions]
        best = slice(0, count + batch.max_seen)
        shape = (len(ids), len(arrays["movie_ids"][best]))
        movies = np.broadcast_to(arrays["movie_ids"][best], shape)
        scores = np.broadcast_to(arrays["counts"][best], shape)
        return take_unseen(ids, movies, scores, batch.seen, count)

    return concat_user_lists(list(parallel_map(batch_lists, batch_users_by_seen(users, seen))))
