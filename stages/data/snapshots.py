"""Snapshots: what is known before each set of targets.

A snapshot is named after the targets that come right after it, and knows everything before them:

    inner_val  its targets stop the training of the retrievers, and the rankers learn from them
    val        the rankers learn from its targets too; defaults are chosen on them
    test       its targets are only measured; the bundle serves from this snapshot

Every model is fitted once per snapshot, on the positives of that snapshot alone. With the global
time split, a history also holds the user's positives between the fit and the query.
"""

from pathlib import Path

import polars as pl

from stages.common.tables import HISTORIES, KNOWN_POSITIVES, SEEN, read_table

SNAPSHOTS = ("inner_val", "val", "test")
RANKER_SNAPSHOTS = SNAPSHOTS[:2]  # the rankers learn from the targets of these
TEST_SNAPSHOT = SNAPSHOTS[-1]


def read_positives(histories: Path, snapshot: str | None = None) -> pl.DataFrame:
    """Read KNOWN_POSITIVES from the folder of the stage `histories`.

    With a `snapshot`, only the rows that it knows.
    """
    positives = read_table(histories / "positives.parquet", KNOWN_POSITIVES)
    return positives if snapshot is None else known_positives(positives, snapshot)


def known_positives(positives: pl.DataFrame, snapshot: str) -> pl.DataFrame:
    """Return the rows of KNOWN_POSITIVES that `snapshot` knows, in their order."""
    return positives.filter(pl.col("snapshot") <= SNAPSHOTS.index(snapshot))


def read_histories(histories: Path, snapshot: str) -> pl.DataFrame:
    """Read HISTORIES of the queries of `snapshot`; for test also of users without a target."""
    return read_table(histories / f"{snapshot}.parquet", HISTORIES)


def read_seen(seen: Path, snapshot: str) -> pl.DataFrame:
    """Read SEEN of the queries of `snapshot` from the folder of the stage `seen`."""
    return read_table(seen / f"{snapshot}.parquet", SEEN)
