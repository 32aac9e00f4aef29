"""Stage: give every target the movies its user liked before it, oldest first."""

import dataclasses
from pathlib import Path
from typing import Annotated

import polars as pl

from stages.common.params import Range, load_params
from stages.common.stage import log, run_stage
from stages.common.tables import (
    HISTORIES,
    SPLIT,
    TRAIN_HISTORIES,
    VALIDATION,
    read_table,
    write_table,
)


@dataclasses.dataclass(frozen=True)
class Params:
    """`max_length`: how many of the newest movies a history keeps, in training and serving."""

    max_length: Annotated[int, Range(1, 10_000)]


def train_histories(train: pl.DataFrame, val: pl.DataFrame, max_length: int) -> pl.DataFrame:
    """SPLIT and VALIDATION -> TRAIN_HISTORIES: every liking with the length of its history.

    The history of a row is the `history_size` rows before it: lists of up to `max_length`
    movies for every row would repeat each movie `max_length` times.
    """
    parts = [train.with_columns(in_val=False), val.drop("is_target").with_columns(in_val=True)]
    table = pl.concat(parts).sort("user_id", "position")
    size = pl.int_range(pl.len()).over("user_id").clip(upper_bound=max_length)
    return table.with_columns(history_size=size)


def last_histories(likings: pl.DataFrame, max_length: int) -> pl.DataFrame:
    """SPLIT -> HISTORIES: one row per user, sorted by user."""
    return (
        likings.sort("user_id", "position")
        .group_by("user_id", maintain_order=True)
        .agg(
            history=pl.col("movie_id").tail(max_length),
            timestamps=pl.col("timestamp").tail(max_length),
            history_length=pl.len(),
        )
    )


def main(train: Path, val: Path, histories: Path) -> None:
    """Write train.parquet, val.parquet (users with a validation target), test.parquet (all)."""
    length = load_params(Params, "histories").max_length
    seen, later = read_table(train, SPLIT), read_table(val, VALIDATION)
    targets = later.filter("is_target").select("user_id").unique()
    before_val = last_histories(seen.join(targets, on="user_id", how="semi"), length)
    before_test = last_histories(pl.concat([seen, later.select(SPLIT.names())]), length)
    tables = {"val": before_val, "test": before_test}
    write_table(train_histories(seen, later, length), histories / "train.parquet", TRAIN_HISTORIES)
    for fold, table in tables.items():
        write_table(table, histories / f"{fold}.parquet", HISTORIES)
    log.info(
        "%d train targets; %d and %d users", seen.height, before_val.height, before_test.height
    )


if __name__ == "__main__":
    run_stage(main)
