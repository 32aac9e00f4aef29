"""Stage: the ratings below the threshold that were given before each fold's targets."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.params import read_value
from stages.common.stage import run_stage
from stages.common.tables import DISLIKES, RATINGS, TRAIN, VALIDATION, read_table, write_table
from stages.engine import Tables, of_users
from stages.folds import FOLDS, known_likings
from stages.pairs import latest, pair_keys


def known_dislikes(ratings: pl.DataFrame, likings: pl.DataFrame, min_rating: float) -> pl.DataFrame:
    """RATINGS -> DISLIKES: each user's ratings under `min_rating`, one row per movie.

    Only those from before the second of the user's newest known liking are known; what the user
    rated together with a target may have come after it. No row can be a target: those are
    likings.

    Args:
        ratings: RATINGS.
        likings: SPLIT rows known before the fold's targets.
        min_rating: Stars from which a rating is a liking.
    """
    newest = likings.group_by("user_id").agg(until=pl.col("timestamp").max())
    low = ratings.filter(pl.col("rating") < min_rating)
    low = low.join(newest, on="user_id", maintain_order="left")
    known = low.filter(pl.col("timestamp") < pl.col("until"))
    table = latest(known)
    keys = pair_keys(table["user_id"].to_numpy(), table["movie_id"].to_numpy())
    return table.select(DISLIKES.names())[np.argsort(keys)]


def main(ratings: Path, train: Path, val: Path, dislikes: Path) -> str:
    """Write DISLIKES of every fold."""
    min_rating = read_value("positives.min_rating", float)
    table = read_table(ratings, RATINGS)

    def part(some: pl.DataFrame, train: pl.DataFrame, val: pl.DataFrame) -> Tables:
        likings = known_likings(train, val)
        return tuple(known_dislikes(some, likings[fold], min_rating) for fold in FOLDS)

    split = read_table(train, TRAIN), read_table(val, VALIDATION)
    tables = of_users("dislikes", part, table, *split)
    for fold, known in zip(FOLDS, tables):
        write_table(known, dislikes / f"{fold}.parquet", DISLIKES)
    rows = [known.height for known in tables]
    return f"{table.height:,} ratings -> {rows} below {min_rating:g} by fold"


if __name__ == "__main__":
    run_stage(main)
