"""The popularity_recent generator: the movies with the most positives of late (a baseline).

Where taste drifts, as with new releases, it beats all-time popularity by far under a split at one
point in time (Ji et al. 2020, "A re-visit of the popularity baseline in recommender systems").
"""

import numpy as np
import polars as pl
from pydantic import Field

from stages.common.params import Section
from stages.common.tables import DAY
from stages.models.item_item import count_by_movie
from stages.models.top_k import recommend_popular as recommend

__all__ = ["Params", "fit", "recommend"]


class Params(Section):
    """The length of the window."""

    days: float = Field(ge=0.01, le=100_000)
    """Days before the newest positive in which positives count."""


def fit(
    positives: pl.DataFrame, low_ratings: pl.DataFrame, params: Params
) -> dict[str, np.ndarray]:
    """Return `movie_ids` and their `counts`, most first; equal counts by movie id.

    A count is the number of recent positives, plus the number of all positives of the movie
    divided by a number that is larger than any of them. So all positives break ties, and order
    the movies without a recent one.
    """
    since = positives["timestamp"].max() - params.days * DAY
    recent = count_by_movie(positives.filter(pl.col("timestamp") > since))
    counts = count_by_movie(positives).rename({"len": "all"})
    counts = counts.join(recent, on="movie_id", how="left").with_columns(
        count=pl.col("len").fill_null(0) + pl.col("all") / (pl.col("all").max() + 1)
    )
    counts = counts.sort("count", "movie_id", descending=[True, False])
    return {"movie_ids": counts["movie_id"].to_numpy(), "counts": counts["count"].to_numpy()}
