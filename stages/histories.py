"""Stage: collect what each snapshot knows: positives, histories, and the rankers' targets."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from stages.common.params import Section, load_params, read_seed
from stages.common.stage import run_stage
from stages.common.tables import (
    HISTORIES,
    KNOWN_POSITIVES,
    TARGETS,
    TRAIN,
    VALIDATION,
    read_table,
    write_table,
)
from stages.data.hashing import splitmix64
from stages.data.pairs import cumcount_and_size, pair_keys
from stages.data.snapshots import SNAPSHOTS, TEST_SNAPSHOT, known_positives, ranker_targets
from stages.parallel.executor import Tables, map_by_user


class Params(Section):
    """Length of the histories, and the number of users that rankers learn from."""

    max_length: int = Field(ge=1, le=10_000)
    """The most movies of a history, in training and serving; it keeps the newest."""

    max_validation_users: int = Field(ge=10, le=2**31)
    """The most users of the snapshots inner_val and val, who are sampled by a seeded hash.

    Rankers learn from these users, and their targets stop the training of the retrievers.
    """


def number_snapshots(train: pl.DataFrame, val: pl.DataFrame) -> pl.DataFrame:
    """Return KNOWN_POSITIVES from TRAIN and VALIDATION."""
    columns = ["user_id", "movie_id", "timestamp", "position", "snapshot"]
    test = pl.lit(SNAPSHOTS.index(TEST_SNAPSHOT), dtype=pl.UInt8)
    parts = [
        train.with_columns(snapshot=pl.col("inner_val").cast(pl.UInt8)),
        val.with_columns(snapshot=test),
    ]
    table = pl.concat([part.select(columns) for part in parts])
    keys = pair_keys(table["user_id"].to_numpy(), table["position"].to_numpy())
    return table[np.argsort(keys, kind="stable")].drop("position")


def last_histories(positives: pl.DataFrame, max_length: int) -> pl.DataFrame:
    """Return HISTORIES, sorted by user, from positives that are sorted by user and time."""
    users = positives["user_id"].to_numpy()
    index, sizes = cumcount_and_size(users)
    newest = positives.filter(pl.Series(sizes - index <= max_length))
    is_last = index == sizes - 1
    ends = np.append(0, np.cumsum(np.minimum(sizes[is_last], max_length)))

    def lists(name: str) -> pl.Series:
        """Return one list per user; Arrow needs only the offsets, so no row is copied."""
        values = newest[name].to_arrow()
        return pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(ends, values)))

    columns = {
        "user_id": users[is_last],
        "history": lists("movie_id"),
        "timestamps": lists("timestamp"),
        "history_length": sizes[is_last],
    }
    return pl.DataFrame(columns, schema_overrides=dict(HISTORIES))


def draw_users(targets: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """Draw up to `count` of the users who have a target, those with the lowest seeded hashes.

    A user's hash does not depend on the other users, so the draws of similar data are similar.
    """
    users = targets["user_id"].unique().sort().to_numpy()
    order = np.argsort(splitmix64(users, np.zeros_like(users), seed), kind="stable")
    return pl.DataFrame({"user_id": users[order[:count]]})


def main(train: Path, val: Path, histories: Path, targets: Path) -> str:
    """Write KNOWN_POSITIVES, the HISTORIES of every snapshot, and the rankers' TARGETS."""
    params, seed = load_params(Params, "histories"), read_seed()
    split = read_table(train, TRAIN), read_table(val, VALIDATION)
    targets_by_snapshot = ranker_targets(*split)
    user_samples = {
        snapshot: draw_users(table, params.max_validation_users, seed)
        for snapshot, table in targets_by_snapshot.items()
    }

    def build(train: pl.DataFrame, val: pl.DataFrame) -> Tables:
        all_positives, tables = number_snapshots(train, val), []
        for snapshot in SNAPSHOTS:
            positives = known_positives(all_positives, snapshot)
            if snapshot in user_samples:
                positives = positives.join(
                    user_samples[snapshot], on="user_id", how="semi", maintain_order="left"
                )
            tables.append(last_histories(positives, params.max_length))
        return all_positives, *tables

    positives, *tables = map_by_user("histories", build, *split)
    write_table(positives, histories / "positives.parquet", KNOWN_POSITIVES)
    for snapshot, table in zip(SNAPSHOTS, tables):
        write_table(table, histories / f"{snapshot}.parquet", HISTORIES)
    for snapshot, table in targets_by_snapshot.items():
        write_table(table, targets / f"{snapshot}.parquet", TARGETS)
    users = tables[SNAPSHOTS.index(TEST_SNAPSHOT)].height
    return f"{positives.height:,} positives -> histories of {users:,} users"


if __name__ == "__main__":
    run_stage(main)
