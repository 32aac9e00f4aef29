"""The item_knn generator: item-based nearest neighbours with BM25 weights (a baseline)."""

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import Field

from stages.common.params import Section
from stages.models.item_item import fit_item_item, gram, recommend
from stages.models.top_k import top_columns

__all__ = ["Params", "fit", "recommend"]


class Params(Section):
    """BM25's parameters, and the size of the model."""

    neighbours: int = Field(ge=1, le=100_000)
    """Most similar movies that each movie keeps."""

    k1: float = Field(ge=0, le=1000)
    """How slowly the weight of a further positive saturates."""

    b: float = Field(ge=0, le=1)
    """How strongly popular movies are discounted; with 0 they are not."""

    recency: float = Field(ge=0, le=10)
    """Exponent of a movie's value in its user's profile: that of the n-th newest is n**-recency."""

    max_movies: int = Field(ge=1, le=200_000)
    """Movies that are modelled, those with the most positives: bounds a dense matrix."""


def bm25(matrix: sp.csr_array, k1: float, b: float) -> sp.csr_array:
    """Weight positives as BM25 weights words (Robertson and Zaragoza 2009).

    A movie is a document, and a user is a word in it: users with many positives say little about
    a movie (idf), and movies with many positives are discounted (document length).

    Args:
        matrix: [users, movies] ones.
        k1: Saturation.
        b: Discount of popular movies.
    """
    idf = np.log(matrix.shape[1]) - np.log1p(matrix.sum(axis=1))
    length = matrix.sum(axis=0)
    saturation = (k1 + 1) / (k1 * (1 - b + b * length / length.mean()) + 1)
    return (sp.diags_array(idf) @ matrix @ sp.diags_array(saturation)).tocsr().astype(np.float32)


def neighbour_weights(matrix: sp.csr_array, params: Params) -> np.ndarray:
    """Return [movies, movies] float32 similarities of each movie's `neighbours`, else 0."""
    similarity = gram(bm25(matrix, params.k1, params.b), np.float32)
    np.fill_diagonal(similarity, 0)
    columns, best = top_columns(similarity, params.neighbours)
    weights = np.zeros_like(similarity)
    np.put_along_axis(weights, columns, best, axis=1)
    return weights


def fit(
    positives: pl.DataFrame, low_ratings: pl.DataFrame, params: Params
) -> dict[str, np.ndarray]:
    """Return the arrays of an item-to-item model."""
    return fit_item_item(
        positives,
        params.max_movies,
        lambda matrix: neighbour_weights(matrix, params),
        recency=params.recency,
    )
