"""Stage: give every target the movies its user liked before it, oldest first."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import pyarrow as pa

from stages.common.params import Range, load_params, read_seed
from stages.common.stage import run_stage
from stages.common.tables import (
    HISTORIES,
    TRAIN,
    TRAIN_HISTORIES,
    VALIDATION,
    read_table,
    write_table,
)
from stages.engine import Tables, of_users
from stages.folds import FOLDS, learnt_targets
from stages.hashing import mix
from stages.pairs import pair_keys, runs


@dataclasses.dataclass(frozen=True)
class Params:
    """`max_length`: how many of the newest movies a history keeps, in training and serving.

    `learnt_users`: how many users, drawn by a seeded hash, have a history before the early and
    the validation targets: rankers learn from these users, and retrievers are stopped by them.
    """

    max_length: Annotated[int, Range(1, 10_000)]
    learnt_users: Annotated[int, Range(10, 2**31)]


def train_histories(train: pl.DataFrame, val: pl.DataFrame) -> pl.DataFrame:
    """TRAIN and VALIDATION -> TRAIN_HISTORIES: every liking, in each user's order.

    The history of a row are the rows before it: a list for every row would repeat each movie
    as often as histories are long.
    """
    columns = ["user_id", "movie_id", "timestamp", "position", "fold"]
    fold = pl.col("early").cast(pl.UInt8)
    parts = [train.with_columns(fold=fold), val.with_columns(fold=pl.lit(2, dtype=pl.UInt8))]
    table = pl.concat([part.select(columns) for part in parts])
    keys = pair_keys(table["user_id"].to_numpy(), table["position"].to_numpy())
    return table[np.argsort(keys, kind="stable")].drop("position")


def last_histories(likings: pl.DataFrame, max_length: int) -> pl.DataFrame:
    """Likings, sorted by user and in each user's order -> HISTORIES, sorted by user."""
    users = likings["user_id"].to_numpy()
    place, sizes = runs(users)
    newest = likings.filter(pl.Series(sizes - place <= max_length))
    last = place == sizes - 1
    ends = np.append(0, np.cumsum(np.minimum(sizes[last], max_length)))

    def lists(name: str) -> pl.Series:
        """One list per user, without a look at each."""
        values = newest[name].to_arrow()
        return pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(ends, values)))

    columns = {
        "user_id": users[last],
        "history": lists("movie_id"),
        "timestamps": lists("timestamp"),
        "history_length": sizes[last],
    }
    return pl.DataFrame(columns, schema_overrides=dict(HISTORIES))


def draw_users(targets: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """user_id of up to `count` of the users who have a target; always the same, whoever else is."""
    users = targets["user_id"].unique().sort().to_numpy()
    place = mix(users, np.zeros_like(users), seed)
    return pl.DataFrame({"user_id": users[np.argsort(place, kind="stable")[:count]]})


def main(train: Path, val: Path, histories: Path) -> str:
    """Write train.parquet, and for each fold a table of the users with targets (test: of all)."""
    params, seed = load_params(Params, "histories"), read_seed()
    split = read_table(train, TRAIN), read_table(val, VALIDATION)
    drawn = {
        fold: draw_users(targets, params.learnt_users, seed)
        for fold, targets in learnt_targets(*split).items()
    }

    def part(train: pl.DataFrame, val: pl.DataFrame) -> Tables:
        everyone, tables = train_histories(train, val), []
        for number, fold in enumerate(FOLDS):
            likings = everyone.filter(pl.col("fold") <= number)
            if fold in drawn:
                likings = likings.join(drawn[fold], on="user_id", how="semi", maintain_order="left")
            tables.append(last_histories(likings, params.max_length))
        return everyone, *tables

    everyone, *tables = of_users("histories", part, *split)
    write_table(everyone, histories / "train.parquet", TRAIN_HISTORIES)
    for fold, table in zip(FOLDS, tables):
        write_table(table, histories / f"{fold}.parquet", HISTORIES)
    return f"{everyone.height:,} likings -> histories of {table.height:,} users"


if __name__ == "__main__":
    run_stage(main)
