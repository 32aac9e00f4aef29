"""The popularity generator: the movies with the most positives, for all users (a baseline)."""

import numpy as np
import polars as pl

from stages.common.params import Section
from stages.models.item_item import count_by_movie
from stages.models.top_k import recommend_popular as recommend

__all__ = ["Params", "fit", "recommend"]


class Params(Section):
    """The generator has no parameters."""


def fit(
    positives: pl.DataFrame, low_ratings: pl.DataFrame, params: Params
) -> dict[str, np.ndarray]:
    """Return `movie_ids` and their `counts` of positives, most first; equal counts by movie id."""
    counts = count_by_movie(positives)
    return {"movie_ids": counts["movie_id"].to_numpy(), "counts": counts["len"].to_numpy()}
