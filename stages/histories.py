"""Stage: give every target the movies its user liked before it, oldest first."""

import dataclasses
from pathlib import Path
from typing import Annotated

import polars as pl

from stages.common.params import Range, load_params
from stages.common.stage import run_stage
from stages.common.tables import (
    HISTORIES,
    TRAIN,
    TRAIN_HISTORIES,
    VALIDATION,
    read_table,
    write_table,
)
from stages.folds import known_likings, learnt_targets


@dataclasses.dataclass(frozen=True)
class Params:
    """`max_length`: how many of the newest movies a history keeps, in training and serving."""

    max_length: Annotated[int, Range(1, 10_000)]


def train_histories(train: pl.DataFrame, val: pl.DataFrame) -> pl.DataFrame:
    """TRAIN and VALIDATION -> TRAIN_HISTORIES: every liking, in each user's order.

    The history of a row are the rows before it: a list for every row would repeat each movie
    as often as histories are long.
    """
    columns = ["user_id", "movie_id", "timestamp", "position", "fold"]
    fold = pl.col("early").cast(pl.UInt8)
    parts = [train.with_columns(fold=fold), val.with_columns(fold=pl.lit(2, dtype=pl.UInt8))]
    table = pl.concat([part.select(columns) for part in parts]).sort("user_id", "position")
    return table.drop("position")


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


def main(train: Path, val: Path, histories: Path) -> str:
    """Write train.parquet, and for each fold a table of the users with targets (test: of all)."""
    length = load_params(Params, "histories").max_length
    split = read_table(train, TRAIN), read_table(val, VALIDATION)
    everyone = train_histories(*split)
    write_table(everyone, histories / "train.parquet", TRAIN_HISTORIES)
    targets = learnt_targets(*split)
    for fold, likings in known_likings(*split).items():
        if fold in targets:
            likings = likings.join(targets[fold], on="user_id", how="semi")
        table = last_histories(likings, length)
        write_table(table, histories / f"{fold}.parquet", HISTORIES)
    return f"{everyone.height:,} likings -> histories of {table.height:,} users"


if __name__ == "__main__":
    run_stage(main)
