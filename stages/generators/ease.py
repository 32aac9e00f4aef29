"""The ease generator: EASE, an item-to-item linear model in closed form.

A low rating is an interaction of a smaller weight: its user chose to watch the movie.
"""

import numpy as np
import polars as pl
import scipy.linalg
import scipy.sparse as sp
from pydantic import Field

from stages.common.params import Section
from stages.models.item_item import fit_item_item, gram, recommend

__all__ = ["Params", "fit", "recommend"]


class Params(Section):
    """Regularization, and the size of the model."""

    regularization: float = Field(ge=1e-6, le=1e9)
    """Weight of the L2 penalty on the item-to-item weights."""

    low_weight: float = Field(ge=0, le=1)
    """Weight of a low rating among the interactions; a positive has 1. With 0 there are none."""

    recency: float = Field(ge=0, le=10)
    """Exponent of a movie's value in its user's profile: that of the n-th newest is n**-recency."""

    max_movies: int = Field(ge=1, le=50_000)
    """Movies that are modelled, those with the most positives: bounds a dense matrix."""


def ease_weights(matrix: sp.csr_array, regularization: float) -> np.ndarray:
    """Return the [movies, movies] float32 weights that best reconstruct `matrix` from itself.

    Their diagonal is zero. With P the inverse of the regularized Gram matrix, a weight is
    -P[i, j] / P[j, j] (Steck 2019).
    """
    precision = gram(matrix, np.float64)
    precision[np.diag_indices_from(precision)] += regularization
    inverse = scipy.linalg.inv(precision, assume_a="pos", overwrite_a=True)
    # C order, because sparse rows are multiplied with the rows of the weights.
    weights = np.divide(
        inverse, -np.diag(inverse), dtype=np.float32, casting="same_kind", order="C"
    )
    np.fill_diagonal(weights, 0)
    return weights


def fit(
    positives: pl.DataFrame, low_ratings: pl.DataFrame, params: Params
) -> dict[str, np.ndarray]:
    """Return the arrays of an item-to-item model."""
    return fit_item_item(
        positives,
        params.max_movies,
        lambda matrix: ease_weights(matrix, params.regularization),
        low_ratings,
        params.low_weight,
        params.recency,
    )
