"""Snapshots: what is known before each set of targets.

A snapshot with targets is named after them, and knows everything before them:

    inner_val  its targets stop the training of the retrievers, and the rankers learn from them
    val        the rankers learn from its targets too; defaults are chosen on them
    test       its targets are only measured
    serve      has no targets and knows all ratings; the bundle serves from this snapshot

Every model but the rankers is fitted once per snapshot, on the positives of that snapshot alone.
With the global time split, a history also holds the user's positives between the fit and the query.
"""

from pathlib import Path

import polars as pl

from stages.common.tables import HISTORIES, KNOWN_POSITIVES, LOW_RATINGS, SEEN, read_table

SNAPSHOTS = ("inner_val", "val", "test", "serve")
TARGET_SNAPSHOTS = SNAPSHOTS[:3]
RANKER_SNAPSHOTS = SNAPSHOTS[:2]  # the rankers learn from the targets of these
VAL_SNAPSHOT, TEST_SNAPSHOT, SERVE_SNAPSHOT = SNAPSHOTS[1:]


def read_positives(histories: Path, snapshot: str | None = None) -> pl.DataFrame:
    """Read KNOWN_POSITIVES from the folder of the stage `histories`.

    With a `snapshot`, only the rows that it knows.
    """
    positives = read_table(histories / "positives.parquet", KNOWN_POSITIVES)
    return positives if snapshot is None else known_rows(positives, snapshot)


def known_rows(table: pl.DataFrame, snapshot: str) -> pl.DataFrame:
    """Return the rows of KNOWN_POSITIVES or LOW_RATINGS that `snapshot` knows, in their order."""
    return table.filter(pl.col("snapshot") <= SNAPSHOTS.index(snapshot))


def read_histories(histories: Path, snapshot: str) -> pl.DataFrame:
    """Read HISTORIES of the queries of `snapshot`.

    Those of test and serve are of all users, also of those without a target.
    """
    return read_table(histories / f"{snapshot}.parquet", HISTORIES)


def read_seen(seen: Path, snapshot: str) -> pl.DataFrame:
    """Read SEEN of the queries of `snapshot` from the folder of the stage `seen`."""
    return read_table(seen / f"{snapshot}.parquet", SEEN)


def read_low_ratings(seen: Path) -> pl.DataFrame:
    """Read LOW_RATINGS from the folder of the stage `seen`."""
    return read_table(seen / "low_ratings.parquet", LOW_RATINGS)


def known_low_ratings(
    low_ratings: pl.DataFrame, positives: pl.DataFrame, snapshot: str
) -> pl.DataFrame:
    """Return the rows of LOW_RATINGS that `snapshot` knows, in their order.

    Args:
        low_ratings: LOW_RATINGS.
        positives: KNOWN_POSITIVES of the snapshot. A movie that the user rated low, and then as a
            positive, is one of these alone.
        snapshot: Name of the snapshot.
    """
    known = known_rows(low_ratings, snapshot)
    return known.join(positives, on=["user_id", "movie_id"], how="anti", maintain_order="left")
