"""Stage: hold out likings by time, for validation and for the test."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl

from stages.common.files import write_json
from stages.common.params import Range, load_params, read_seed, read_value
from stages.common.stage import StageError, run_stage
from stages.common.tables import POSITIVES, SPLIT, TEST, TRAIN, VALIDATION, read_table, write_table
from stages.engine import Tables, of_users
from stages.hashing import mix
from stages.pairs import runs


@dataclasses.dataclass(frozen=True)
class Params:
    """How to hold out.

    `leave_one_out`: of each user with at least `min_positives`, the last liking is the test
    target and the one before it the validation target; the up to `early` ones before that are
    marked in train, as targets of a first fold that gives the rankers more to learn from.
    `global`: two cuts in time leave `test_share` and `val_share` of all likings after them; a
    user's `targets` (first, last or all) after a cut are to be found from what came before it.
    What comes after a third cut, `val_share` before the others, is marked in train.
    `ties` orders likings of equal time: as in the raw `file`, or by a seeded `hash`.
    """

    method: Literal["leave_one_out", "global"]
    ties: Literal["file", "hash"]
    min_positives: Annotated[int, Range(3, 1000)]
    early: Annotated[int, Range(1, 100)]
    val_share: Annotated[float, Range(0.001, 0.5)]
    test_share: Annotated[float, Range(0.001, 0.5)]
    targets: Literal["first", "last", "all"]


def order(positives: pl.DataFrame, ties: str, seed: int) -> pl.DataFrame:
    """POSITIVES -> SPLIT columns, each user's likings numbered from 0 in order of time."""
    table = positives  # which are sorted by user, time and row
    if ties == "hash":
        users, movies = positives["user_id"].to_numpy(), positives["movie_id"].to_numpy()
        tie = pl.Series("tie", mix(users, movies, seed))
        table = positives.with_columns(tie).sort("user_id", "timestamp", "tie", "movie_id")
    place, _ = runs(table["user_id"].to_numpy())
    return table.with_columns(position=pl.Series(place)).select(
        pl.col(name).cast(kind) for name, kind in SPLIT.items()
    )


def leave_one_out(
    ordered: pl.DataFrame, min_positives: int, early: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """SPLIT -> TRAIN, VALIDATION, TEST; users with too few likings stay wholly in train."""
    place, likings = runs(ordered["user_id"].to_numpy())
    from_end = likings - place  # 1 = the user's last
    held_out = likings >= min_positives
    table = ordered.with_columns(
        part=pl.Series(np.where(held_out & (from_end <= 2), from_end, 0)),
        tied=(pl.col("timestamp") == pl.col("timestamp").shift(1)) & (pl.col("position") > 0),
        early=pl.Series(held_out & (from_end <= 2 + early) & (place > 0)),
    )
    train = table.filter(pl.col("part") == 0)
    val = table.filter(pl.col("part") == 2).with_columns(is_target=pl.lit(True))
    test = table.filter(pl.col("part") == 1).with_columns(history_length="position")
    return train.select(TRAIN.names()), val.select(VALIDATION.names()), test.select(TEST.names())


def global_split(
    ordered: pl.DataFrame, early_cut: int, val_cut: int, test_cut: int, targets: str
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """SPLIT -> TRAIN (before `val_cut`), VALIDATION (before `test_cut`), TEST (the rest).

    A user without a liking before a cut has no target after it. Likings after the test cut
    that are no targets are left out.
    """
    time = pl.col("timestamp")

    def mark(part: pl.DataFrame, cut: int) -> pl.DataFrame:
        earlier = (
            ordered.filter(time < cut)
            .group_by("user_id")
            .agg(history_length=pl.len(), before=time.max())
        )
        chosen = {
            "first": pl.col("position") == pl.col("position").min().over("user_id"),
            "last": pl.col("position") == pl.col("position").max().over("user_id"),
            "all": pl.lit(True),
        }[targets]
        joined = part.join(earlier, on="user_id", how="left", maintain_order="left")
        return joined.with_columns(
            is_target=chosen & pl.col("history_length").is_not_null(),
            tied=(time == pl.col("before")).fill_null(False),
        )

    train = ordered.filter(time < val_cut).with_columns(early=time >= early_cut)
    val = mark(ordered.filter((time >= val_cut) & (time < test_cut)), val_cut)
    test = mark(ordered.filter(time >= test_cut), test_cut).filter("is_target")
    return train, val.select(VALIDATION.names()), test.select(TEST.names())


def time_cuts(positives: pl.DataFrame, params: Params) -> list[int]:
    """The early, validation and test cut, in seconds: of all users' likings the shares follow."""
    times = positives["timestamp"].sort()
    after = [params.test_share + n * params.val_share for n in (2, 1, 0)]
    return [int(times[int(times.len() * max(1 - share, 0))]) for share in after]


def main(positives: Path, split: Path, metrics: Path) -> str:
    """Read POSITIVES, write train.parquet, val.parquet and test.parquet into `split`."""
    params = load_params(Params, "time_split")
    table, seed = read_table(positives, POSITIVES), read_seed()
    cuts = time_cuts(table, params) if params.method == "global" else []

    def part(some: pl.DataFrame) -> Tables:
        ordered = order(some, params.ties, seed)
        if params.method == "global":
            return global_split(ordered, *cuts, params.targets)
        return leave_one_out(ordered, params.min_positives, params.early)

    parts = train, val, test = of_users("time_split", part, table)
    early = train.filter("early").join(train.filter(~pl.col("early")), on="user_id", how="semi")
    held_out = {"early": early, "validation": val.filter("is_target"), "test": test}
    for name, part in held_out.items():
        if part.height == 0:
            raise StageError(f"time_split: leaves no {name} target; bring more likings per user")
    for part, name, schema in zip(parts, ("train", "val", "test"), (TRAIN, VALIDATION, TEST)):
        write_table(part, split / f"{name}.parquet", schema)
    figures = {
        "train_likings": train.height,
        "early_targets": early.height,
        "val_targets": val["is_target"].sum(),
        "test_targets": test.height,
        "users": table["user_id"].n_unique(),
        "test_users": test["user_id"].n_unique(),
        "tied_share": test["tied"].mean(),
        "sample_users": read_value("positives.sample_users", float),
    }
    write_json(figures, metrics)
    held = ", ".join(f"{part.height:,} {name}" for name, part in held_out.items())
    return f"{table.height:,} likings -> targets: {held}"


if __name__ == "__main__":
    run_stage(main)
