"""Why a movie is recommended: which liked movie speaks most for it."""

import functools

import numpy as np
import polars as pl

from stages.feature_groups import Past
from stages.serving.bundle import ITEM_MODELS
from stages.towers import history_matrices


def item_weights(
    model: tuple[np.ndarray, np.ndarray], liked: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """[n, l] weights of an item-to-item `model` from the [n, l] liked to the [n] wanted movies.

    0 where the model does not know both.
    """
    place, weights = model
    rows, columns = place[liked], place[wanted][:, None]
    return np.where((rows >= 0) & (columns >= 0), weights[rows, columns], 0)


def cosines(vectors: np.ndarray, liked: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """[n, l] cosines of unit `vectors` of the [n, l] liked and the [n] wanted movies."""
    return np.einsum("nld,nd->nl", vectors[liked], vectors[wanted])


def because(data: Past, histories: pl.DataFrame, recommended: pl.DataFrame) -> pl.Series:
    """Each recommended movie's reason: a movie_id of its user's history, null where there is none.

    It is the liked movie with the largest positive EASE weight to the recommended one; where there
    is none, by item_knn, then by the cosine of the vectors. Of equal weights the newest counts.

    Args:
        data: The past that features are made of.
        histories: HISTORIES, sorted by user.
        recommended: user_id and movie_id.
    """
    longest = max(int(histories["history"].list.len().max()), 1)
    newest_first = history_matrices(histories, data.movie_ids, longest)[0][:, ::-1]
    owner = np.searchsorted(histories["user_id"].to_numpy(), recommended["user_id"].to_numpy())
    wanted = np.searchsorted(data.movie_ids, recommended["movie_id"].to_numpy())
    weighers = [functools.partial(item_weights, data.similar[name]) for name in ITEM_MODELS]
    reason = np.full(len(wanted), -1)
    for weigh in [*weighers, functools.partial(cosines, data.vectors)]:
        rows = np.flatnonzero(reason < 0)
        if not len(rows):
            break
        liked = newest_first[owner[rows]]
        weights = np.where(liked >= 0, weigh(np.maximum(liked, 0), wanted[rows]), 0)
        best = weights.argmax(axis=1)
        found = np.take_along_axis(weights, best[:, None], axis=1)[:, 0] > 0
        reason[rows[found]] = liked[found, best[found]]
    ids = pl.Series("because_id", data.movie_ids[np.maximum(reason, 0)], dtype=pl.Int32)
    return ids.to_frame().select(pl.when(pl.Series(reason >= 0)).then("because_id")).to_series()
