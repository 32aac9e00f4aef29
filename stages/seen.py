"""Stage: collect the movies that no list of a query may hold, because the user knows them."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.params import read_value
from stages.common.stage import run_stage
from stages.common.tables import RATINGS, SEEN, read_table, write_table
from stages.data.pairs import concat_ranges, deduplicate, pair_keys
from stages.data.queries import ratings_by_query, rename_for_queries, rename_for_users
from stages.data.snapshots import SNAPSHOTS, read_histories, read_positives
from stages.models.top_k import Exclude
from stages.parallel.executor import Tables, map_by_user


def positives_before(queries: pl.DataFrame, positives: pl.DataFrame) -> pl.DataFrame:
    """Return user_id and movie_id of all positives before each query.

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
    }
    return pl.DataFrame(columns)


def seen_movies(
    queries: pl.DataFrame, positives: pl.DataFrame, ratings: pl.DataFrame, exclude: Exclude
) -> pl.DataFrame:
    """Return SEEN.

    Args:
        queries: HISTORIES.
        positives: KNOWN_POSITIVES.
        ratings: RATINGS.
        exclude: `rated`: all movies that the user has rated before the query. `positives`: only
            the positives among them.
    """
    before = positives_before(queries, positives)
    parts = [before.with_columns(positive=pl.lit(True))]
    if exclude == "rated":
        rated = ratings_by_query(ratings, queries).filter("known").drop("known")
        parts.append(rated.with_columns(positive=pl.lit(False)))
    table = pl.concat(parts).with_row_index("row")
    table = deduplicate(table, lambda rows: rows.unique(["user_id", "movie_id"], keep="first"))
    keys = pair_keys(table["user_id"].to_numpy(), table["movie_id"].to_numpy())
    return table[np.argsort(keys)].select(SEEN.names())


def main(ratings: Path, histories: Path, seen: Path) -> str:
    """Write SEEN of every snapshot."""
    exclude = read_value("candidates.exclude", Exclude)
    tables = read_table(ratings, RATINGS), read_positives(histories)
    queries = [rename_for_users(read_histories(histories, snapshot)) for snapshot in SNAPSHOTS]

    def build(ratings: pl.DataFrame, positives: pl.DataFrame, *queries: pl.DataFrame) -> Tables:
        return tuple(
            seen_movies(rename_for_queries(table), positives, ratings, exclude) for table in queries
        )

    counts = []
    for snapshot, table in zip(SNAPSHOTS, map_by_user("seen", build, *tables, *queries)):
        write_table(table, seen / f"{snapshot}.parquet", SEEN)
        counts.append(table.height)
    return f"{tables[0].height:,} ratings -> {counts} seen movies by snapshot"


if __name__ == "__main__":
    run_stage(main)
