"""The popularity generator: the movies with the most positives, for all users (a baseline)."""

import numpy as np
import polars as pl

from stages.common.params import Section
from stages.models.item_item import count_by_movie
from stages.models.top_k import UserBatch, batch_users_by_seen, concat_user_lists, take_unseen
from stages.parallel.executor import parallel_map


class Params(Section):
    """The generator has no parameters."""


def fit(positives: pl.DataFrame, params: Params) -> dict[str, np.ndarray]:
    """Return `movie_ids` and their `counts` of positives, most first; equal counts by movie id."""
    counts = count_by_movie(positives)
    return {"movie_ids": counts["movie_id"].to_numpy(), "counts": counts["len"].to_numpy()}


def recommend(
    arrays: dict[str, np.ndarray], users: np.ndarray, positives: pl.DataFrame, count: int
) -> pl.DataFrame:
    """Return RECOMMENDATIONS of each user's most popular unseen movies, scored by their counts."""

    def batch_lists(batch: UserBatch) -> pl.DataFrame:
        ids = users[batch.positions]
        best = slice(0, count + batch.max_seen)
        shape = (len(ids), len(arrays["movie_ids"][best]))
        movies = np.broadcast_to(arrays["movie_ids"][best], shape)
        scores = np.broadcast_to(arrays["counts"][best], shape)
        return take_unseen(ids, movies, scores, batch.seen, count)

    return concat_user_lists(list(parallel_map(batch_lists, batch_users_by_seen(users, positives))))
