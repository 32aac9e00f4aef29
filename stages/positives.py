"""Stage: keep the ratings that are positives, one row per user and movie."""

from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from stages.common.params import Section, load_params, read_seed
from stages.common.stage import StageError, run_stage
from stages.common.tables import POSITIVES, RATINGS, read_table, write_table
from stages.data.hashing import splitmix64
from stages.data.pairs import latest_ratings
from stages.parallel.executor import map_by_user


class Params(Section):
    """Which ratings are positives, and of which users."""

    min_rating: float = Field(ge=-1_000_000, le=1_000_000)
    """The lowest rating of a positive."""

    sample_users: float = Field(ge=0.0001, le=1)
    """Share of the users to keep; 1 keeps all.

    A hash of the seed and the user's id decides, so a larger share contains a smaller one.
    """


def keep_positives(ratings: pl.DataFrame, min_rating: float) -> pl.DataFrame:
    """RATINGS -> POSITIVES: the rows of at least `min_rating`, one per user and movie, sorted.

    Only a user's latest rating of a movie counts, whether it is a positive or not. At equal times,
    the later row of the file counts.
    """
    positives = latest_ratings(ratings).filter(pl.col("rating") >= min_rating)
    return positives.select(POSITIVES.names()).sort("user_id", "timestamp", "row")


def sample_users(positives: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """Return the POSITIVES of about `share` of the users: all rows of a user, or none."""
    if share == 1:
        return positives
    users = positives["user_id"].to_numpy()
    # 53 bits fit into a float64, so no quotient is rounded up to 1.
    uniform = (splitmix64(users, np.zeros_like(users), seed) >> np.uint64(11)) / 2.0**53
    return positives.filter(pl.Series(uniform < share))


def main(ratings: Path, positives: Path) -> str:
    """Read RATINGS, write POSITIVES."""
    params = load_params(Params, "positives")
    ratings_table = read_table(ratings, RATINGS)
    (table,) = map_by_user(
        "positives", lambda shard: (keep_positives(shard, params.min_rating),), ratings_table
    )
    if table.height == 0:
        raise StageError(
            f"positives.min_rating: no rating reaches {params.min_rating:g}; set it lower"
        )
    table = sample_users(table, params.sample_users, read_seed())
    if table.height == 0:
        raise StageError("positives.sample_users: leaves no user; set it higher")
    write_table(table, positives, POSITIVES)
    return f"{ratings_table.height:,} ratings -> {table.height:,} positives"


if __name__ == "__main__":
    run_stage(main)
