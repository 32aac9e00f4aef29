"""Stage: collect the movies that no list of a query may hold, because the user knows them."""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from stages.common.params import read_value
from stages.common.stage import run_stage
from stages.common.tables import LOW_RATINGS, RATINGS, SEEN, read_table, write_table
from stages.data.pairs import concat_ranges, cumcount_and_size, deduplicate, pair_keys
from stages.data.queries import ratings_by_query, rename_for_queries, rename_for_users
from stages.data.snapshots import (
    SERVE_SNAPSHOT,
    SNAPSHOTS,
    TARGET_SNAPSHOTS,
    read_histories,
    read_positives,
)
from stages.models.top_k import Exclude
from stages.parallel.executor import Tables, map_by_user


def positives_before(queries: pl.DataFrame, positives: pl.DataFrame) -> pl.DataFrame:
    """Return user_id, movie_id and timestamp of all positives before each query, oldest first.

    Args:
        queries: QUERIES.
        positives: KNOWN_POSITIVES of their users.
    """
    sizes = queries["history_length"].to_numpy().astype(np.int64)
    users = positives["user_id"].to_numpy()
    rows = concat_ranges(np.searchsorted(users, queries["source_user_id"].to_numpy()), sizes)
    columns = {
        "user_id": np.repeat(queries["user_id"].to_numpy(), sizes),
        "movie_id": positives["movie_id"].to_numpy()[rows],
        "timestamp": positives["timestamp"].to_numpy()[rows],
    }
    return pl.DataFrame(columns)


def with_ages(table: pl.DataFrame) -> pl.DataFrame:
    """Append `age`, the number of the user's rows that are newer.

    In one second, low ratings are older than positives, which keep their order. For example:

        timestamp  10  20     20    30
        positive   1   1      0     1
        age        3   1      2     0

    Args:
        table: user_id, timestamp and positive.
    """
    table = table.sort("user_id", "timestamp", "positive", maintain_order=True)
    index, size = cumcount_and_size(table["user_id"].to_numpy())
    return table.with_columns(age=size - 1 - index)


def seen_movies(
    queries: pl.DataFrame,
    positives: pl.DataFrame,
    ratings: pl.DataFrame,
    also_unknown: bool = False,
) -> pl.DataFrame:
    """Return SEEN.

    Args:
        queries: HISTORIES.
        positives: KNOWN_POSITIVES.
        ratings: RATINGS of the movies that are seen, besides the positives.
        also_unknown: Whether those that are not known before the query are seen, too.
    """
    before = positives_before(queries, positives)
    rated = ratings_by_query(ratings, queries)
    rated = rated.filter(pl.col("known") | also_unknown).select(before.columns)
    parts = before.with_columns(positive=pl.lit(True)), rated.with_columns(positive=pl.lit(False))
    table = pl.concat(parts).with_row_index("row")
    table = deduplicate(table, lambda rows: rows.unique(["user_id", "movie_id"], keep="first"))
    table = with_ages(table)
    keys = pair_keys(table["user_id"].to_numpy(), table["movie_id"].to_numpy())
    return table[np.argsort(keys)].select(SEEN.names()).cast(dict(SEEN))


def low_ratings(ratings: pl.DataFrame, positives: pl.DataFrame) -> pl.DataFrame:
    """Return LOW_RATINGS.

    A snapshot with targets knows what is older than the user's newest positive in it, `serve` all.

    Args:
        ratings: RATINGS.
        positives: KNOWN_POSITIVES of their users.
    """
    pair = ["user_id", "movie_id"]
    newest = {
        name: pl.col("timestamp").filter(pl.col("snapshot") <= number).max()
        for number, name in enumerate(TARGET_SNAPSHOTS)
    }
    rows = ratings.join(positives.group_by("user_id").agg(**newest), on="user_id")
    is_unknown = [
        (pl.col("timestamp") < pl.col(name)).fill_null(False).not_() for name in TARGET_SNAPSHOTS
    ]
    rows = rows.select(*pair, "timestamp", snapshot=pl.sum_horizontal(is_unknown).cast(pl.UInt8))
    rows = rows.group_by(pair).agg(pl.col("timestamp", "snapshot").min())
    positive_since = positives.select(*pair, positive_since="snapshot")
    rows = rows.join(positive_since, on=pair, how="left", validate="1:1")
    end = pl.col("positive_since").fill_null(len(SNAPSHOTS))
    return rows.filter(pl.col("snapshot") < end).drop("positive_since").sort(pair)


def low_ratings_of_users(
    exclude: Exclude, ratings: pl.DataFrame, positives: pl.DataFrame
) -> Tables:
    """Return LOW_RATINGS, without rows if `exclude` is `positives`, as the only table."""
    return (low_ratings(ratings.clear() if exclude == "positives" else ratings, positives),)


def seen_of_users(
    snapshot: str,
    exclude: Exclude,
    ratings: pl.DataFrame,
    positives: pl.DataFrame,
    queries: pl.DataFrame,
) -> Tables:
    """Return SEEN of the queries of a snapshot, as the only table."""
    serves = snapshot == SERVE_SNAPSHOT
    # Whatever the rule of the evaluation, nobody is served a movie that they have rated.
    if exclude == "positives" and not serves:
        ratings = ratings.clear()
    return (seen_movies(rename_for_queries(queries), positives, ratings, also_unknown=serves),)


def main(ratings: Path, histories: Path, seen: Path) -> str:
    """Write LOW_RATINGS, and SEEN of every snapshot.

    They are built one after the other, because each takes several times its size in memory.
    """
    exclude = read_value("candidates.exclude", Exclude)
    tables = read_table(ratings, RATINGS), read_positives(histories)
    (low,) = map_by_user("low_ratings", partial(low_ratings_of_users, exclude), *tables)
    write_table(low, seen / "low_ratings.parquet", LOW_RATINGS)
    num_low = low.height
    del low
    counts = []
    for snapshot in SNAPSHOTS:
        queries = rename_for_users(read_histories(histories, snapshot))
        build = partial(seen_of_users, snapshot, exclude)
        (table,) = map_by_user(f"seen_{snapshot}", build, *tables, queries)
        write_table(table, seen / f"{snapshot}.parquet", SEEN)
        counts.append(f"{snapshot} {table.height:,}")
        del table
    rows = f"{tables[0].height:,} ratings -> {num_low:,} low ratings"
    return f"{rows}, seen movies: {', '.join(counts)}"


if __name__ == "__main__":
    run_stage(main)
