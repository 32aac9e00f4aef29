"""Recommend by item-to-item weights: what every model of that kind shares."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.common.files import write_arrays
from stages.common.params import load_params
from stages.common.tables import RECOMMENDATIONS, write_table
from stages.engine import over
from stages.folds import folds
from stages.top_k import CandidateParams, best_unseen, interactions, top_columns

USERS_AT_ONCE, MOVIES_AT_ONCE = 1024, 1024
Fit = Callable[[sp.csr_array], np.ndarray]


def most_liked(likings: pl.DataFrame, limit: int) -> np.ndarray:
    """The ids of the `limit` most liked movies, sorted by id; bounds a dense matrix's memory."""
    counts = likings.group_by("movie_id").len().sort("len", "movie_id", descending=[True, False])
    return counts.head(limit)["movie_id"].sort().to_numpy()


def gram(table: sp.csr_array, kind: type[np.floating]) -> np.ndarray:
    """[movies, movies] products of all pairs of columns of [users, movies]; dense, of type `kind`.

    Some rows after the other: nearly full, a sparse result would take three times the memory.
    """
    made = np.empty((table.shape[1],) * 2, dtype=kind)
    columns = table.T.tocsr()
    for start in range(0, len(made), MOVIES_AT_ONCE):
        made[start : start + MOVIES_AT_ONCE] = (
            columns[start : start + MOVIES_AT_ONCE] @ table
        ).toarray()
    return made


def recommend_similar(
    weights: np.ndarray, liked: sp.csr_array, users: np.ndarray, movies: np.ndarray, count: int
) -> pl.DataFrame:
    """RECOMMENDATIONS: the sum of a user's liked movies' weights to every unseen movie.

    Args:
        weights: [movies, movies] float32; row = liked movie, column = scored movie.
        liked: [users, movies] ones.
        users: [users] ids, ascending.
        movies: [movies] ids, ascending.
        count: How many movies a user gets.
    """

    def part(start: int) -> pl.DataFrame:
        rows = liked[start : start + USERS_AT_ONCE]
        scores = rows @ weights
        scores[rows.nonzero()] = -np.inf
        columns, best = top_columns(scores, count)
        found = np.where(np.isfinite(best), movies[columns], -1)
        # What is seen already scores minus infinity, so no list of seen pairs is needed.
        return best_unseen(users[start : start + USERS_AT_ONCE], found, best, np.empty(0), count)

    return pl.concat(over(part, range(0, len(users), USERS_AT_ONCE)))


def run(
    fit: Fit,
    max_movies: int,
    inputs: tuple[Path, Path, Path],
    model: Path,
    recommendations: Path,
) -> str:
    """Fit, save the weights and recommend, once for each fold; returns what the stage has to say.

    `inputs` are the files train and val of the split and the folder of histories.
    """
    count = load_params(CandidateParams, "candidates").count
    for fold, likings, before in folds(*inputs):
        movies = most_liked(likings, max_movies)
        everyone = likings["user_id"].unique().sort().to_numpy()
        weights = fit(interactions(likings, everyone, movies))
        users = before["user_id"].to_numpy()
        liked = interactions(likings, users, movies)
        lists = recommend_similar(weights, liked, users, movies, count)
        write_arrays({"movie_ids": movies, "weights": weights}, model / f"{fold}.npz")
        write_table(lists, recommendations / f"{fold}.parquet", RECOMMENDATIONS)
    return f"{len(movies):,} movies -> {lists.height:,} recommendations for {len(users):,} users"
