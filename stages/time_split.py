"""Stage: hold out positives by time, for validation and for the test."""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from stages.common.files import write_json
from stages.common.params import Section, load_params, read_seed, read_value
from stages.common.stage import StageError, run_stage
from stages.common.tables import POSITIVES, SPLIT, TEST, TRAIN, VALIDATION, read_table, write_table
from stages.data.hashing import splitmix64
from stages.data.pairs import cumcount_and_size
from stages.data.snapshots import ranker_targets
from stages.parallel.executor import Tables, map_by_user


class Params(Section):
    """How targets are held out."""

    method: Literal["leave_one_out", "global"]
    """`leave_one_out`: the last positive of each user with at least `min_positives` is the test
    target, the one before it is the val target, and the `inner_val_targets` before that are marked
    in train. `global`: two cuts in time leave `test_share` and `val_share` of all positives after
    them; a user's `targets` after a cut are predicted from the positives before it. Positives
    after a third cut, `val_share` before the val cut, are marked in train.
    """

    ties: Literal["file", "hash"]
    """Order of a user's positives of the same time: as in the raw file, or by a seeded hash."""

    min_positives: int = Field(ge=3, le=1000)
    """Fewest positives of a user who has targets, with leave_one_out."""

    inner_val_targets: int = Field(ge=1, le=100)
    """Most inner_val targets per user, with leave_one_out."""

    val_share: float = Field(ge=0.001, le=0.5)
    """Share of all positives between two cuts, with global."""

    test_share: float = Field(ge=0.001, le=0.5)
    """Share of all positives after the last cut, with global."""

    targets: Literal["first", "last", "all"]
    """Which of a user's positives after a cut are targets, with global."""


def order(positives: pl.DataFrame, ties: str, seed: int) -> pl.DataFrame:
    """POSITIVES -> SPLIT: number each user's positives by time, from 0."""
    table = positives  # sorted by user, time and row
    if ties == "hash":
        users, movies = positives["user_id"].to_numpy(), positives["movie_id"].to_numpy()
        tie = pl.Series("tie", splitmix64(users, movies, seed))
        table = positives.with_columns(tie).sort("user_id", "timestamp", "tie", "movie_id")
    position, _ = cumcount_and_size(table["user_id"].to_numpy())
    return table.with_columns(position=pl.Series(position)).select(
        pl.col(name).cast(kind) for name, kind in SPLIT.items()
    )


def leave_one_out(
    ordered: pl.DataFrame, min_positives: int, inner_val_targets: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """SPLIT -> TRAIN, VALIDATION, TEST; a user with too few positives stays in train.

    For example, a user with the movies 1 to 6 and two `inner_val_targets`:

        movie   1      2      3          4          5    6
        table   train  train  train      train      val  test
                              inner_val  inner_val
    """
    position, size = cumcount_and_size(ordered["user_id"].to_numpy())
    from_end = size - position  # 1 = the user's last
    has_targets = size >= min_positives
    table = ordered.with_columns(
        part=pl.Series(np.where(has_targets & (from_end <= 2), from_end, 0)),
        tied=(pl.col("timestamp") == pl.col("timestamp").shift(1)) & (pl.col("position") > 0),
        inner_val=pl.Series(has_targets & (from_end <= 2 + inner_val_targets) & (position > 0)),
    )
    train = table.filter(pl.col("part") == 0)
    val = table.filter(pl.col("part") == 2).with_columns(is_target=pl.lit(True))
    test = table.filter(pl.col("part") == 1).with_columns(history_length="position")
    return train.select(TRAIN.names()), val.select(VALIDATION.names()), test.select(TEST.names())


def global_split(
    ordered: pl.DataFrame, inner_val_cut: int, val_cut: int, test_cut: int, targets: str
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """SPLIT -> TRAIN (before `val_cut`), VALIDATION (before `test_cut`), TEST (the rest).

    A user without a positive before a cut has no target after it. Positives after the test cut
    that are no targets are left out.
    """
    time = pl.col("timestamp")

    def mark_targets(part: pl.DataFrame, cut: int) -> pl.DataFrame:
        histories = (
            ordered.filter(time < cut)
            .group_by("user_id")
            .agg(history_length=pl.len(), last_time=time.max())
        )
        is_selected = {
            "first": pl.col("position") == pl.col("position").min().over("user_id"),
            "last": pl.col("position") == pl.col("position").max().over("user_id"),
            "all": pl.lit(True),
        }[targets]
        joined = part.join(histories, on="user_id", how="left", maintain_order="left")
        return joined.with_columns(
            is_target=is_selected & pl.col("history_length").is_not_null(),
            tied=(time == pl.col("last_time")).fill_null(False),
        )

    train = ordered.filter(time < val_cut).with_columns(inner_val=time >= inner_val_cut)
    val = mark_targets(ordered.filter((time >= val_cut) & (time < test_cut)), val_cut)
    test = mark_targets(ordered.filter(time >= test_cut), test_cut).filter("is_target")
    return train, val.select(VALIDATION.names()), test.select(TEST.names())


def time_cuts(positives: pl.DataFrame, params: Params) -> list[int]:
    """Return the inner_val, val and test cut of the global split, in seconds since 1970.

    After them come `test_share` plus two, one and no `val_share` of all positives.
    """
    times = positives["timestamp"].sort()
    shares = [params.test_share + n * params.val_share for n in (2, 1, 0)]
    return [int(times[int(times.len() * max(1 - share, 0))]) for share in shares]


def main(positives: Path, split: Path, metrics: Path) -> str:
    """Read POSITIVES, write train.parquet, val.parquet and test.parquet into `split`."""
    params = load_params(Params, "time_split")
    table, seed = read_table(positives, POSITIVES), read_seed()
    cuts = time_cuts(table, params) if params.method == "global" else []

    def split_shard(shard: pl.DataFrame) -> Tables:
        ordered = order(shard, params.ties, seed)
        if params.method == "global":
            return global_split(ordered, *cuts, params.targets)
        return leave_one_out(ordered, params.min_positives, params.inner_val_targets)

    train, val, test = map_by_user("time_split", split_shard, table)
    targets = {**ranker_targets(train, val), "test": test}
    for name, rows in targets.items():
        if rows.height == 0:
            raise StageError(
                f"time_split: leaves no {name} target; use data with more positives per user"
            )
    write_table(train, split / "train.parquet", TRAIN)
    write_table(val, split / "val.parquet", VALIDATION)
    write_table(test, split / "test.parquet", TEST)
    figures = {
        "train_positives": train.height,
        **{f"{name}_targets": rows.height for name, rows in targets.items()},
        "users": table["user_id"].n_unique(),
        "test_users": test["user_id"].n_unique(),
        "tied_share": test["tied"].mean(),
        "sample_users": read_value("positives.sample_users", float),
    }
    write_json(figures, metrics)
    counts = ", ".join(f"{rows.height:,} {name}" for name, rows in targets.items())
    return f"{table.height:,} positives -> targets: {counts}"


if __name__ == "__main__":
    run_stage(main)
