"""Item-to-item models: fit one to the most popular movies, and recommend with it."""

from collections.abc import Callable

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.models.top_k import interaction_matrix, take_unseen, top_columns
from stages.parallel.executor import parallel_map

SCORE_BATCH_USERS = 1024  # bounds the dense [users, movies] scores
GRAM_BATCH_MOVIES = 1024  # bounds the sparse rows of a Gram matrix


def count_by_movie(positives: pl.DataFrame) -> pl.DataFrame:
    """Return movie_id and `len`, its number of positives; most first, equal ones by movie id."""
    return positives.group_by("movie_id").len().sort("len", "movie_id", descending=[True, False])


def most_popular_ids(positives: pl.DataFrame, limit: int) -> np.ndarray:
    """Return the ids of the `limit` movies with the most positives, sorted by id."""
    return count_by_movie(positives).head(limit)["movie_id"].sort().to_numpy()


def gram(matrix: sp.csr_array, dtype: type[np.floating]) -> np.ndarray:
    """Return the dense [movies, movies] inner products of the columns of `matrix` [users, movies].

    The product is nearly full, so as a sparse matrix it would take three times the memory. It is
    computed in batches of rows.
    """
    product = np.empty((matrix.shape[1],) * 2, dtype=dtype)
    columns = matrix.T.tocsr()
    for start in range(0, len(product), GRAM_BATCH_MOVIES):
        rows = slice(start, start + GRAM_BATCH_MOVIES)
        product[rows] = (columns[rows] @ matrix).toarray()
    return product


def fit_item_item(
    positives: pl.DataFrame,
    max_movies: int,
    weights: Callable[[sp.csr_array], np.ndarray],
    low_ratings: pl.DataFrame | None = None,
    low_weight: float = 0.0,
    recency: float = 0.0,
) -> dict[str, np.ndarray]:
    """Return `movie_ids` [m], sorted, their `weights` [m, m] float32, `low_weight` and `recency`.

    Args:
        positives: user_id and movie_id to learn from.
        max_movies: How many of the movies with the most positives are modelled.
        weights: Computes the weights from the [users, m] matrix, in which a positive is 1.
        low_ratings: LOW_RATINGS to learn from.
        low_weight: Value of a low rating in the matrix, and in users' profiles.
        recency: Exponent of `profile_values`; the weights do not depend on it.
    """
    movies = most_popular_ids(positives, max_movies)
    users = positives["user_id"].unique().sort().to_numpy()
    matrix = interaction_matrix(positives, users, movies)
    if low_ratings is not None:
        matrix += np.float32(low_weight) * interaction_matrix(low_ratings, users, movies)
    return model_arrays(movies, weights(matrix), low_weight, recency)


def model_arrays(
    movies: np.ndarray, weights: np.ndarray, low_weight: float, recency: float
) -> dict[str, np.ndarray]:
    """Return the arrays of an item-to-item model; `recommend` says what they are."""
    return {
        "movie_ids": movies,
        "weights": weights,
        "low_weight": np.array(low_weight, dtype=np.float32),
        "recency": np.array(recency, dtype=np.float32),
    }


def profile_values(arrays: dict[str, np.ndarray], seen: pl.DataFrame) -> np.ndarray:
    """Return the [rows] float32 values of the movies of SEEN in the profiles of their users.

    A positive has 1, a low rating `low_weight`, and a movie without a rating 0. The value of a
    user's n-th newest rating is multiplied by n to the power of -`recency`.
    """
    positive = seen["positive"].cast(pl.Float32).to_numpy()  # 1, 0, or NaN for null
    values = np.where(positive == 0, arrays["low_weight"], np.nan_to_num(positive))
    newness = np.nan_to_num(seen["age"].cast(pl.Float32).to_numpy()) + 1
    return values * newness ** -arrays["recency"]


def recommend(
    arrays: dict[str, np.ndarray], users: np.ndarray, seen: pl.DataFrame, count: int
) -> pl.DataFrame:
    """Return RECOMMENDATIONS, scored by the sum of the weights from a user's movies to a movie.

    Args:
        arrays: `movie_ids` [m], sorted; `weights` [m, m] float32: row = the user's movie, column =
            the scored movie; `low_weight` and `recency` of `profile_values`.
        users: [n] ids, ascending.
        seen: SEEN.
        count: Unseen movies per user.
    """
    movies, weights = arrays["movie_ids"], arrays["weights"]
    profiles = interaction_matrix(seen, users, movies, profile_values(arrays, seen))
    profiles.eliminate_zeros()  # low ratings, where `low_weight` is 0
    seen_matrix = interaction_matrix(seen, users, movies)

    def batch_lists(start: int) -> pl.DataFrame:
        rows = slice(start, start + SCORE_BATCH_USERS)
        scores = profiles[rows] @ weights
        scores[seen_matrix[rows].nonzero()] = -np.inf
        columns, best = top_columns(scores, count)
        ids = np.where(np.isfinite(best), movies[columns], -1)
        # Seen movies score minus infinity here, so `take_unseen` needs no keys of seen pairs.
        return take_unseen(users[rows], ids, best, np.empty(0), count)

    return pl.concat(parallel_map(batch_lists, range(0, len(users), SCORE_BATCH_USERS)))
