"""The moments for which everything is fitted: before the early, validation and test targets.

What is known grows from fold to fold. Rankers learn from the targets of the folds `LEARNT`.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from stages.common.tables import HISTORIES, SPLIT, TRAIN, VALIDATION, read_table

FOLDS = ("early", "val", "test")
LEARNT = FOLDS[:2]
NEWEST = FOLDS[-1]  # the fold that knows most: it is measured, and served


def known_likings(train: pl.DataFrame, val: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """SPLIT rows by fold: train without its early rows, train, and train and validation."""
    learnt, later = train.select(SPLIT.names()), val.select(SPLIT.names())
    return {
        "early": learnt.filter(~train["early"]),
        "val": learnt,
        "test": pl.concat([learnt, later]),
    }


def learnt_targets(train: pl.DataFrame, val: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """user_id and movie_id by fold of `LEARNT`, one row per target of a user with a past."""
    past = train.filter(~pl.col("early"))
    early = train.filter("early").join(past, on="user_id", how="semi", maintain_order="left")
    targets = {"early": early, "val": val.filter("is_target")}
    return {fold: table.select("user_id", "movie_id") for fold, table in targets.items()}


def folds(
    train: Path, val: Path, histories: Path, wanted: tuple[str, ...] = FOLDS
) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """What may be known before a fold's targets, for each: its name, likings, histories."""
    likings = known_likings(read_table(train, TRAIN), read_table(val, VALIDATION))
    for fold in wanted:
        yield fold, likings[fold], read_table(histories / f"{fold}.parquet", HISTORIES)
