"""Stage: keep the ratings that count as a liking."""

import dataclasses
from pathlib import Path
from typing import Annotated

import polars as pl

from stages.common.params import Range, load_params
from stages.common.stage import StageError, run_stage
from stages.common.tables import POSITIVES, RATINGS, read_table, write_table


@dataclasses.dataclass(frozen=True)
class Params:
    """`min_rating`: stars from which a rating is a liking, itself included."""

    min_rating: Annotated[float, Range(-1000, 1000)]


def keep_positives(ratings: pl.DataFrame, min_rating: float) -> pl.DataFrame:
    """RATINGS -> POSITIVES of at least `min_rating`, one row per user and movie, sorted.

    Of several ratings of one movie by one user the latest counts, whatever it says; of equally
    late ones the last in the file.
    """
    latest = ratings.sort("user_id", "movie_id", "timestamp", "row").unique(
        ["user_id", "movie_id"], keep="last", maintain_order=True
    )
    liked = latest.filter(pl.col("rating") >= min_rating)
    return liked.select(POSITIVES.names()).sort("user_id", "timestamp", "row")


def main(ratings: Path, positives: Path) -> str:
    """Read RATINGS, write POSITIVES."""
    params = load_params(Params, "positives")
    table = read_table(ratings, RATINGS)
    liked = keep_positives(table, params.min_rating)
    if liked.height == 0:
        raise StageError(
            f"positives.min_rating: no rating reaches {params.min_rating:g}; set it lower"
        )
    write_table(liked, positives, POSITIVES)
    return f"{table.height:,} ratings -> {liked.height:,} likings"


if __name__ == "__main__":
    run_stage(main)
