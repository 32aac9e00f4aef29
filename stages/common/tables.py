"""The pipeline's tables: every column's name and type, written once.

Rows are in a defined order wherever a table is written, so that equal data are equal bytes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from stages.common.stage import StageError, atomic_write

DAY = 86_400  # seconds, the unit of timestamps
READ_BATCH_USERS = 2048  # bounds the memory for tables that are read in parts

RATINGS = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "rating": pl.Float32,  # stars
        "timestamp": pl.Int64,  # seconds since 1970, UTC
        "row": pl.UInt32,  # index of the row in the raw file, from 0
    }
)
CATALOGUE = pl.Schema(
    {
        "movie_id": pl.Int32,
        "title": pl.String,
        "year": pl.Int16,  # of release; null where unknown
        "genres": pl.List(pl.String),
    }
)
# One row per user and positive movie, sorted by user, time and row.
POSITIVES = pl.Schema(
    {"user_id": pl.Int32, "movie_id": pl.Int32, "timestamp": pl.Int64, "row": pl.UInt32}
)
SPLIT = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "timestamp": pl.Int64,
        "position": pl.UInt32,  # in the user's positives by time, from 0
    }
)
# `inner_val`: the snapshot inner_val does not know the row.
TRAIN = pl.Schema({**SPLIT, "inner_val": pl.Boolean})
# A query asks for recommendations to a user at one point of the user's positives. `user_id` names
# the query in all tables of a snapshot. It is the user's id in the ratings, which `source_user_id`
# holds; only with `time_split.targets: all`, a user's later queries have ids of their own.
QUERIES = pl.Schema(
    {
        "user_id": pl.Int32,
        "source_user_id": pl.Int32,
        "history_length": pl.UInt32,  # the user's positives before the query
    }
)
TARGETS = pl.Schema({**QUERIES, "movie_id": pl.Int32})
TEST = pl.Schema(
    {
        **TARGETS,
        "timestamp": pl.Int64,
        "tied": pl.Boolean,  # the time of the target equals that of the positive before it
        "new_user": pl.Boolean,  # no model knows a positive of the user
    }
)
# All positives, sorted by user and time. The history of a row is the user's rows before it.
KNOWN_POSITIVES = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "timestamp": pl.Int64,
        # Index in SNAPSHOTS (stages.data) of the first one whose models know the row.
        "snapshot": pl.UInt8,
    }
)
# The newest positives before a query, oldest first.
HISTORIES = pl.Schema(
    {
        **QUERIES,
        "history": pl.List(pl.Int32),  # movie ids
        "timestamps": pl.List(pl.Int64),
    }
)
# The movies that no list of a query may hold, sorted by user and movie.
SEEN = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "positive": pl.Boolean,  # the movie is one of the positives before the query
        "age": pl.UInt32,  # the user's newer ratings before the query; null for no rating
        "timestamp": pl.Int64,  # of the rating; null for no rating
    }
)
# The rated movies that are no positive of their user, sorted by user and movie.
LOW_RATINGS = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "timestamp": pl.Int64,
        "snapshot": pl.UInt8,  # index in SNAPSHOTS of the first one whose models know the rating
    }
)
# The users that a ranker learns from.
FOLDS = pl.Schema({"source_user_id": pl.Int32, "fold": pl.UInt8})
POPULARITY = pl.Schema(
    {
        "movie_id": pl.Int32,
        "positives": pl.UInt32,
        "popularity_rank": pl.UInt32,  # 1 = most positives
    }
)
RECOMMENDATIONS = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "score": pl.Float32,  # higher is better
        "rank": pl.UInt16,  # 1 = best
    }
)
# Rank of every target in its query's list (0 = not in it), and the positives of its movie.
RANKS = pl.Schema({**TEST, "rank": pl.UInt16, "positives": pl.UInt32})


def embeddings_schema(key: str, dimension: int) -> pl.Schema:
    """Schema of float32 vectors by `key`, which is `movie_id` or `user_id`."""
    return pl.Schema({key: pl.Int32, "embedding": pl.Array(pl.Float32, dimension)})


def merged_schema(generators: list[str]) -> pl.Schema:
    """Schema of merged candidates: each list's score and rank, null where it lacks the movie."""
    columns: dict[str, type[pl.DataType]] = {"user_id": pl.Int32, "movie_id": pl.Int32}
    for name in generators:
        columns |= {f"score_{name}": pl.Float32, f"rank_{name}": pl.UInt16}
    return pl.Schema(columns)


def read_table(path: Path, schema: pl.Schema | None = None) -> pl.DataFrame:
    """Read a parquet table; with a `schema`, its columns and types must be these.

    Raises:
        StageError: The file is missing, unreadable or has other columns.
    """
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError:
        raise StageError(f"{path}: not found; run `dvc repro`") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise StageError(f"{path}: cannot be read ({reason}); delete it and repro") from None
    if schema is not None and table.schema != schema:
        raise StageError(f"{path}: has columns {dict(table.schema)}; delete it and run `dvc repro`")
    return table


def write_table(table: pl.DataFrame, path: Path, schema: pl.Schema) -> None:
    """Write `table` with exactly the columns of `schema`, in its order; whole or not at all."""
    columns = table.select(pl.col(name).cast(kind) for name, kind in schema.items())
    with atomic_write(path) as temporary:
        try:
            columns.write_parquet(temporary, compression="zstd", compression_level=1)
        except pl.exceptions.PolarsError as error:  # only the disk can fail here
            raise OSError(str(error)) from None


@contextmanager
def parquet_appender(path: Path, schema: pl.Schema) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that appends rows; the file appears when the block has ended."""

    def cast(table: pl.DataFrame) -> pa.Table:
        return table.select(pl.col(name).cast(kind) for name, kind in schema.items()).to_arrow()

    with atomic_write(path) as temporary:
        empty = cast(pl.DataFrame(schema=schema))
        with pq.ParquetWriter(temporary, empty.schema, compression="zstd") as writer:
            yield lambda table: writer.write_table(cast(table))


def read_user_ids(*paths: Path) -> pl.Series:
    """Return the sorted ids of all users in any of the tables."""
    try:
        ids = [pl.scan_parquet(p).select("user_id").unique().collect() for p in paths]
    except (pl.exceptions.PolarsError, OSError):
        ids = [read_table(p).select("user_id") for p in paths]  # raises an error with the cause
    return pl.concat(ids)["user_id"].unique().sort()


def user_ranges(users: pl.Series) -> list[tuple[int, int]]:
    """Split the sorted ids into batches of `READ_BATCH_USERS`; return each one's first and last."""
    parts = [users[n : n + READ_BATCH_USERS] for n in range(0, len(users), READ_BATCH_USERS)]
    return [(int(part[0]), int(part[-1])) for part in parts]


def read_user_rows(path: Path, users: tuple[int, int]) -> pl.DataFrame:
    """Read the rows of the users between two ids, both included, of a table sorted by user."""
    return pl.scan_parquet(path).filter(pl.col("user_id").is_between(*users)).collect()


def user_rows(table: pl.DataFrame, users: tuple[int, int]) -> pl.DataFrame:
    """Slice those rows out of a table in memory, without a copy."""
    ids, (first, last) = table["user_id"].to_numpy(), users
    return table[int(np.searchsorted(ids, first)) : int(np.searchsorted(ids, last, "right"))]
