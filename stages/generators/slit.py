"""The slit generator: SLIT, linear transitions to a user's next movies in closed form.

A ridge regression predicts the next movies of a user from the movies before them (Choi et al. 2021,
Session-aware Linear Item-Item Models for Session-based Recommendation). Each rating of a user but
the last makes one example:

    source  the ratings up to it, the newest one times d[0], the one before times d[1], ...
    target  the ratings after it, the next one times g[0], the one after that times g[1], ...

The sources S [examples, movies] and the targets T give the weights (S'S + regularization I)^-1 S'T.
A low rating has a smaller weight, in sources and in targets.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.linalg
import scipy.sparse as sp
from pydantic import Field

from stages.common.params import Section
from stages.data.pairs import cumcount_and_size
from stages.models.item_item import model_arrays, most_popular_ids, recommend

__all__ = ["Params", "fit", "recommend"]

TARGET_DECAY = 0.5  # value of a rating of a target, relative to the one before it


class Params(Section):
    """What an example of the regression is, and the size of the model."""

    regularization: float = Field(ge=1e-6, le=1e9)
    """Weight of the L2 penalty on the item-to-item weights."""

    low_weight: float = Field(ge=0, le=1)
    """Weight of a low rating; a positive has 1. With 0 there are none."""

    recency: float = Field(ge=0, le=10)
    """Exponent of a movie's value in a source: that of the n-th newest rating is n**-recency."""

    window: int = Field(ge=1, le=1000)
    """Ratings of a source, in training; a user's profile has them all."""

    targets: int = Field(ge=1, le=100)
    """Ratings of a target; each has half the weight of the one before."""

    max_movies: int = Field(ge=1, le=50_000)
    """Movies that are modelled, those with the most positives: bounds dense matrices."""


class Ratings(NamedTuple):
    """Ratings, sorted by user and time."""

    users: np.ndarray  # [ratings] ids
    movies: np.ndarray  # [ratings] indices of movies
    weights: np.ndarray  # [ratings] float64


def in_order(
    positives: pl.DataFrame, low_ratings: pl.DataFrame, low_weight: float, movies: np.ndarray
) -> Ratings:
    """Return the ratings of a snapshot.

    In one second, low ratings are older than positives, as in SEEN.

    Args:
        positives: KNOWN_POSITIVES of a snapshot.
        low_ratings: Its LOW_RATINGS.
        low_weight: Weight of a low rating.
        movies: [m] sorted ids of the movies that are modelled; the ratings of others are left out.
    """
    columns, parts = ["user_id", "movie_id", "timestamp"], []
    for table, weight in ((low_ratings, low_weight), (positives, 1.0)):
        if weight > 0:
            parts.append(table.select(*columns, weight=pl.lit(weight)))
    table = pl.concat(parts).filter(pl.col("movie_id").is_in(movies))
    table = table.sort("user_id", "timestamp", maintain_order=True)
    index = np.searchsorted(movies, table["movie_id"].to_numpy())
    return Ratings(table["user_id"].to_numpy(), index, table["weight"].to_numpy())


def regression_sums(
    ratings: Ratings, size: int, source: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return S'S and S'T, both [size, size].

    Two ratings of a user that are `lag` apart meet in several examples, but their product has one
    value for all of them, so one sum over pairs of ratings a lag replaces the examples.

    Args:
        ratings: The ratings.
        size: The number of movies.
        source: [window] d.
        target: [targets] g.
    """
    users, movies, weights = ratings
    window = len(source)
    gram, products = np.zeros((size, size)), np.zeros((size, size))
    index, count = cumcount_and_size(users)
    examples_after = count - 2 - index  # of the user, besides the one that ends with the rating

    def add(sums: np.ndarray, old: np.ndarray, new: np.ndarray, values: np.ndarray) -> None:
        values = values * weights[old] * weights[new]
        sums += sp.coo_array((values, (movies[old], movies[new])), shape=sums.shape).toarray()

    for lag in range(window + len(target)):
        new = np.arange(lag, len(users))
        new = new[users[new] == users[new - lag]]
        old = new - lag
        if lag < window:
            # Both are in the source of the example that ends with `new`, and of those after it.
            sums = np.append(np.cumsum(source[: window - lag] * source[lag:]), 0)
            last = np.minimum(examples_after[new], window - lag - 1)
            add(gram, old, new, sums[last] if lag else sums[last] / 2)
        if lag:
            # `old` is in the source of an example of which `new` is the n-th target.
            ranks = np.arange(max(lag - window + 1, 1), min(lag, len(target)) + 1)
            add(products, old, new, np.full(len(new), source[lag - ranks] @ target[ranks - 1]))
    # The pairs above have the older rating first.
    return gram + gram.T, products


def fit(
    positives: pl.DataFrame, low_ratings: pl.DataFrame, params: Params
) -> dict[str, np.ndarray]:
    """Return the arrays of an item-to-item model."""
    movies = most_popular_ids(positives, params.max_movies)
    ratings = in_order(positives, low_ratings, params.low_weight, movies)
    source = np.arange(1, params.window + 1) ** -params.recency
    target = TARGET_DECAY ** np.arange(params.targets)
    gram, products = regression_sums(ratings, len(movies), source, target)
    gram[np.diag_indices_from(gram)] += params.regularization
    weights = scipy.linalg.solve(gram, products, assume_a="pos", overwrite_a=True, overwrite_b=True)
    return model_arrays(movies, weights.astype(np.float32), params.low_weight, params.recency)
