"""Explain a recommended movie by the movie of the user's history that is closest to it."""

import functools

import numpy as np
import polars as pl

from stages.models.rating_matrices import history_matrix
from stages.ranking.feature_groups import FeatureContext

# The item-to-item models to try first; other models follow, then the retriever's vectors.
PREFERRED = ("ease", "item_knn")


def item_weights(
    model: tuple[np.ndarray, np.ndarray], history: np.ndarray, movies: np.ndarray
) -> np.ndarray:
    """Return the [n, l] weights from the movies of the history to the recommended ones.

    A weight is 0 where the model lacks one of the two movies.

    Args:
        model: The index of every movie in an item-to-item model (-1: none), and its weights.
        history: [n, l] indices of movies.
        movies: [n] indices of movies.
    """
    index, weights = model
    rows, columns = index[history], index[movies][:, None]
    return np.where((rows >= 0) & (columns >= 0), weights[rows, columns], 0)


def cosines(vectors: np.ndarray, history: np.ndarray, movies: np.ndarray) -> np.ndarray:
    """Return the [n, l] cosines of the [n, l] history with the [n] movies.

    `vectors` are [all movies, d] of length 1.
    """
    return np.einsum("nld,nd->nl", vectors[history], vectors[movies])


def explain(
    context: FeatureContext, histories: pl.DataFrame, recommendations: pl.DataFrame
) -> pl.Series:
    """Return each recommended movie's explanation: a movie_id of its user's history, or null.

    It is the movie with the largest positive EASE weight to the recommended one. Where no weight
    is positive, item_knn decides, then any other item-to-item model, then the cosine of the
    retriever's vectors. If weights are equal, the newest movie wins.

    Args:
        context: The context of the ranker's features.
        histories: HISTORIES, sorted by user.
        recommendations: user_id and movie_id.
    """
    newest_first = history_matrix(histories, context.movie_ids)[:, ::-1]
    history_rows = np.searchsorted(
        histories["user_id"].to_numpy(), recommendations["user_id"].to_numpy()
    )
    movies = np.searchsorted(context.movie_ids, recommendations["movie_id"].to_numpy())
    models = context.item_item
    names = [n for n in PREFERRED if n in models] + [n for n in models if n not in PREFERRED]
    scorers = [functools.partial(item_weights, models[name]) for name in names]
    explanation = np.full(len(movies), -1)
    for score in [*scorers, functools.partial(cosines, context.unit_vectors)]:
        rows = np.flatnonzero(explanation < 0)
        if not len(rows):
            break
        history = newest_first[history_rows[rows]]
        weights = np.where(history >= 0, score(np.maximum(history, 0), movies[rows]), 0)
        columns = weights.argmax(axis=1)
        is_positive = np.take_along_axis(weights, columns[:, None], axis=1)[:, 0] > 0
        explanation[rows[is_positive]] = history[is_positive, columns[is_positive]]
    ids = np.where(explanation >= 0, context.movie_ids[explanation], np.nan)
    return pl.Series("explanation_id", ids, nan_to_null=True).cast(pl.Int32)
