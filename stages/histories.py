"""Stage: collect what each snapshot knows: positives, and the histories of its queries."""

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
    QUERIES,
    SPLIT,
    TARGETS,
    TRAIN,
    read_table,
    write_table,
)
from stages.data.hashing import splitmix64
from stages.data.pairs import concat_ranges, pair_keys
from stages.data.queries import rename_for_queries, rename_for_users
from stages.data.snapshots import (
    RANKER_SNAPSHOTS,
    SERVE_SNAPSHOT,
    SNAPSHOTS,
    TARGET_SNAPSHOTS,
    TEST_SNAPSHOT,
    known_rows,
)
from stages.parallel.executor import Tables, map_by_user


class Params(Section):
    """Length of the histories, and the number of queries that rankers learn from."""

    max_length: int = Field(ge=1, le=10_000)
    """The most movies of a history, in training and serving; it keeps the newest."""

    max_validation_users: int = Field(ge=10, le=2**31)
    """The most queries of the snapshots inner_val and val, which are sampled by a seeded hash.

    Rankers learn from these queries, and their targets stop the training of the retrievers.
    """


def number_snapshots(train: pl.DataFrame, val: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Return KNOWN_POSITIVES from TRAIN, and from the SPLIT rows of `val` and `later`."""
    columns = ["user_id", "movie_id", "timestamp", "position", "snapshot"]
    test, serve = SNAPSHOTS.index(TEST_SNAPSHOT), SNAPSHOTS.index(SERVE_SNAPSHOT)
    parts = [
        train.with_columns(snapshot=pl.col("inner_val").cast(pl.UInt8)),
        val.with_columns(snapshot=pl.lit(test, dtype=pl.UInt8)),
        later.with_columns(snapshot=pl.lit(serve, dtype=pl.UInt8)),
    ]
    table = pl.concat([part.select(columns) for part in parts])
    keys = pair_keys(table["user_id"].to_numpy(), table["position"].to_numpy())
    return table[np.argsort(keys, kind="stable")].drop("position")


def last_queries(positives: pl.DataFrame) -> pl.DataFrame:
    """Return QUERIES with one of each user, after all of the user's positives."""
    counts = positives.group_by("user_id", maintain_order=True).len("history_length")
    queries = counts.with_columns(source_user_id="user_id").select(QUERIES.names())
    return queries.cast(dict(QUERIES))


def with_users_without_targets(queries: pl.DataFrame, positives: pl.DataFrame) -> pl.DataFrame:
    """Append to QUERIES one of each other user, so that every system lists movies for all users."""
    others = last_queries(positives).join(queries, on="source_user_id", how="anti")
    return pl.concat([queries, others])


def build_histories(
    queries: pl.DataFrame, positives: pl.DataFrame, max_length: int
) -> pl.DataFrame:
    """Return the HISTORIES of QUERIES, sorted by user_id.

    Args:
        queries: QUERIES.
        positives: movie_id and timestamp of the positives of their users (`source_user_id`),
            sorted by user and time.
        max_length: The most movies of a history; the newest are kept.
    """
    queries = queries.sort("user_id")
    users = positives["user_id"].to_numpy()
    sizes = queries["history_length"].to_numpy().astype(np.int64)
    list_sizes = np.minimum(sizes, max_length)
    ends = np.searchsorted(users, queries["source_user_id"].to_numpy()) + sizes
    rows = positives[concat_ranges(ends - list_sizes, list_sizes)]
    offsets = np.append(0, np.cumsum(list_sizes))

    def lists(name: str) -> pl.Series:
        """Return one list per query; Arrow needs only the offsets, so no row is copied."""
        values = rows[name].to_arrow()
        return pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(offsets, values)))

    return queries.with_columns(history=lists("movie_id"), timestamps=lists("timestamp"))


def draw_queries(queries: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """Draw up to `count` of the queries, those with the lowest seeded hashes of their user_id.

    A hash does not depend on the other queries, so the draws of similar data are similar.
    """
    users = queries["user_id"].unique().sort().to_numpy()
    order = np.argsort(splitmix64(users, np.zeros_like(users), seed), kind="stable")
    return pl.DataFrame({"user_id": users[order[:count]]})


def main(train: Path, val: Path, later: Path, queries: Path, targets: Path, histories: Path) -> str:
    """Write KNOWN_POSITIVES, and the HISTORIES of every snapshot's queries."""
    params, seed = load_params(Params, "histories"), read_seed()
    parts = read_table(train, TRAIN), read_table(val, SPLIT), read_table(later, SPLIT)
    queries_by_snapshot = {TEST_SNAPSHOT: read_table(queries, QUERIES)}
    for snapshot in RANKER_SNAPSHOTS:
        table = read_table(targets / f"{snapshot}.parquet", TARGETS).select(QUERIES.names())
        table = table.unique(maintain_order=True)
        sample = draw_queries(table, params.max_validation_users, seed)
        queries_by_snapshot[snapshot] = table.join(
            sample, on="user_id", how="semi", maintain_order="left"
        )

    def build(
        train: pl.DataFrame, val: pl.DataFrame, later: pl.DataFrame, *queries: pl.DataFrame
    ) -> Tables:
        positives = number_snapshots(train, val, later)
        by_snapshot = dict(zip(TARGET_SNAPSHOTS, map(rename_for_queries, queries)))
        by_snapshot[TEST_SNAPSHOT] = with_users_without_targets(
            by_snapshot[TEST_SNAPSHOT], known_rows(positives, TEST_SNAPSHOT)
        )
        by_snapshot[SERVE_SNAPSHOT] = last_queries(positives)
        tables = [
            build_histories(by_snapshot[name], positives, params.max_length) for name in SNAPSHOTS
        ]
        return positives, *tables

    query_tables = [rename_for_users(queries_by_snapshot[name]) for name in TARGET_SNAPSHOTS]
    positives, *tables = map_by_user("histories", build, *parts, *query_tables)
    write_table(positives, histories / "positives.parquet", KNOWN_POSITIVES)
    for snapshot, table in zip(SNAPSHOTS, tables):
        write_table(table, histories / f"{snapshot}.parquet", HISTORIES)
    users = tables[SNAPSHOTS.index(TEST_SNAPSHOT)].height
    return f"{positives.height:,} positives -> histories of {users:,} queries"


if __name__ == "__main__":
    run_stage(main)
