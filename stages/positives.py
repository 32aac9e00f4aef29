"""Stage: keep the ratings that count as a liking."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl

from stages.common.params import Range, load_params, read_seed
from stages.common.stage import StageError, run_stage
from stages.common.tables import POSITIVES, RATINGS, read_table, write_table
from stages.engine import of_users
from stages.hashing import mix
from stages.pairs import latest


@dataclasses.dataclass(frozen=True)
class Params:
    """`min_rating`: stars from which a rating is a liking, itself included.

    `sample_users`: share of the users that is kept, 1 = all. Which they are is told by a hash of
    seed and user id, so a larger share holds the users of a smaller one.
    """

    min_rating: Annotated[float, Range(-1000, 1000)]
    sample_users: Annotated[float, Range(0.0001, 1)]


def keep_positives(ratings: pl.DataFrame, min_rating: float) -> pl.DataFrame:
    """RATINGS -> POSITIVES of at least `min_rating`, one row per user and movie, sorted.

    Of several ratings of one movie by one user the latest counts, whatever it says; of equally
    late ones the last in the file.
    """
    liked = latest(ratings).filter(pl.col("rating") >= min_rating)
    return liked.select(POSITIVES.names()).sort("user_id", "timestamp", "row")


def sample(positives: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """The POSITIVES of about a `share` of the users, all of each or none."""
    if share == 1:
        return positives
    users = positives["user_id"].to_numpy()
    # 53 bits, so that no quotient is rounded up to 1.
    place = (mix(users, np.zeros_like(users), seed) >> np.uint64(11)) / 2.0**53
    return positives.filter(pl.Series(place < share))


def main(ratings: Path, positives: Path) -> str:
    """Read RATINGS, write POSITIVES."""
    params = load_params(Params, "positives")
    table = read_table(ratings, RATINGS)
    (liked,) = of_users("positives", lambda some: (keep_positives(some, params.min_rating),), table)
    if liked.height == 0:
        raise StageError(
            f"positives.min_rating: no rating reaches {params.min_rating:g}; set it lower"
        )
    liked = sample(liked, params.sample_users, read_seed())
    if liked.height == 0:
        raise StageError("positives.sample_users: leaves no user; set it higher")
    write_table(liked, positives, POSITIVES)
    return f"{table.height:,} ratings -> {liked.height:,} likings"


if __name__ == "__main__":
    run_stage(main)
