"""Stage: collect the low ratings that each snapshot knows."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.params import read_value
from stages.common.stage import run_stage
from stages.common.tables import LOW_RATINGS, RATINGS, read_table, write_table
from stages.data.pairs import latest_ratings, pair_keys
from stages.data.snapshots import SNAPSHOTS, known_positives, read_positives
from stages.parallel.executor import Tables, map_by_user


def known_low_ratings(
    ratings: pl.DataFrame, positives: pl.DataFrame, min_rating: float
) -> pl.DataFrame:
    """Return LOW_RATINGS: each user's ratings below `min_rating`, one row per movie.

    A rating is known if it is older than the user's newest known positive. Ratings of the same
    second are left out: the user may have given them after a target of that second.

    Args:
        ratings: RATINGS.
        positives: user_id and timestamp of the positives that the snapshot knows.
        min_rating: The threshold of a positive.
    """
    newest = positives.group_by("user_id").agg(until=pl.col("timestamp").max())
    low = ratings.filter(pl.col("rating") < min_rating)
    low = low.join(newest, on="user_id", maintain_order="left")
    table = latest_ratings(low.filter(pl.col("timestamp") < pl.col("until")))
    keys = pair_keys(table["user_id"].to_numpy(), table["movie_id"].to_numpy())
    return table.select(LOW_RATINGS.names())[np.argsort(keys)]


def main(ratings: Path, histories: Path, low_ratings: Path) -> str:
    """Write LOW_RATINGS of every snapshot."""
    min_rating = read_value("positives.min_rating", float)
    table = read_table(ratings, RATINGS)

    def build(ratings: pl.DataFrame, positives: pl.DataFrame) -> Tables:
        return tuple(
            known_low_ratings(ratings, known_positives(positives, snapshot), min_rating)
            for snapshot in SNAPSHOTS
        )

    tables = map_by_user("low_ratings", build, table, read_positives(histories))
    for snapshot, low in zip(SNAPSHOTS, tables):
        write_table(low, low_ratings / f"{snapshot}.parquet", LOW_RATINGS)
    counts = [low.height for low in tables]
    return f"{table.height:,} ratings -> {counts} under {min_rating:g} by snapshot"


if __name__ == "__main__":
    run_stage(main)
