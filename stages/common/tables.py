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

from stages.common.stage import StageError, whole_file

USERS_AT_ONCE = 2048  # of tables that are too large to be in memory whole

RATINGS = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "rating": pl.Float32,  # stars
        "timestamp": pl.Int64,  # seconds since 1970, UTC
        "row": pl.UInt32,  # place in the raw file, from 0
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
# One row per user and liked movie; in a split, `position` is its place in the user's order.
POSITIVES = pl.Schema(
    {"user_id": pl.Int32, "movie_id": pl.Int32, "timestamp": pl.Int64, "row": pl.UInt32}
)
SPLIT = pl.Schema(
    {"user_id": pl.Int32, "movie_id": pl.Int32, "timestamp": pl.Int64, "position": pl.UInt32}
)
# `early`: among the user's last before validation; held back from the first of the folds.
TRAIN = pl.Schema({**SPLIT, "early": pl.Boolean})
VALIDATION = pl.Schema({**SPLIT, "is_target": pl.Boolean})
# `tied`: the time of the target equals that of the positive before it.
TEST = pl.Schema({**SPLIT, "tied": pl.Boolean, "history_length": pl.UInt32})
# Every liking that is no test target, in each user's order: the history of a row are the rows of
# the user before it. `fold` is the first of `stages.folds.FOLDS` (0 = early) that knows the row.
TRAIN_HISTORIES = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "timestamp": pl.Int64,
        "fold": pl.UInt8,
    }
)
# Before a fold's targets: the newest movies, oldest first, and the time of each.
HISTORIES = pl.Schema(
    {
        "user_id": pl.Int32,
        "history": pl.List(pl.Int32),
        "timestamps": pl.List(pl.Int64),
        "history_length": pl.UInt32,  # before it was cut to the newest
    }
)
# What users rated too low for a liking, as far as it is known before a fold's targets.
DISLIKES = pl.Schema({"user_id": pl.Int32, "movie_id": pl.Int32, "rating": pl.Float32})
POPULARITY = pl.Schema(
    {
        "movie_id": pl.Int32,
        "likings": pl.UInt32,
        "popularity_rank": pl.UInt32,  # 1 = most liked
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
# Rank of every target in its user's list, 0 = not in it; what the slices need stands beside.
RANKS = pl.Schema(
    {
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "rank": pl.UInt16,
        "tied": pl.Boolean,
        "history_length": pl.UInt32,
        "likings": pl.UInt32,
    }
)


def embeddings_schema(key: str, dimension: int) -> pl.Schema:
    """`key` is `movie_id` or `user_id`; the vectors are float32."""
    return pl.Schema({key: pl.Int32, "embedding": pl.Array(pl.Float32, dimension)})


def pool_schema(generators: list[str]) -> pl.Schema:
    """Merged candidates: what each generator says of a movie; null where it says nothing."""
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
    with whole_file(path) as temporary:
        try:
            columns.write_parquet(temporary, compression="zstd", compression_level=1)
        except pl.exceptions.PolarsError as error:  # what else can it be than the disk?
            raise OSError(str(error)) from None


@contextmanager
def growing_table(path: Path, schema: pl.Schema) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that appends rows; the table appears whole when the block has ended."""

    def typed(table: pl.DataFrame) -> pa.Table:
        return table.select(pl.col(name).cast(kind) for name, kind in schema.items()).to_arrow()

    with whole_file(path) as temporary:
        empty = typed(pl.DataFrame(schema=schema))
        with pq.ParquetWriter(temporary, empty.schema, compression="zstd") as writer:
            yield lambda table: writer.write_table(typed(table))


def users_of(*paths: Path) -> pl.Series:
    """The sorted ids of all users in any of the tables."""
    try:
        found = [pl.scan_parquet(p).select("user_id").unique().collect() for p in paths]
    except (pl.exceptions.PolarsError, OSError):
        found = [read_table(p) for p in paths]  # which says what is wrong
    return pl.concat(found)["user_id"].unique().sort()


def user_ranges(users: pl.Series) -> list[tuple[int, int]]:
    """The first and last of `USERS_AT_ONCE` of the sorted ids each."""
    parts = [users[n : n + USERS_AT_ONCE] for n in range(0, len(users), USERS_AT_ONCE)]
    return [(int(part[0]), int(part[-1])) for part in parts]


def read_users(path: Path, users: tuple[int, int]) -> pl.DataFrame:
    """The rows of the users from the first to the last of a table sorted by user."""
    return pl.scan_parquet(path).filter(pl.col("user_id").is_between(*users)).collect()


def users_rows(table: pl.DataFrame, users: tuple[int, int]) -> pl.DataFrame:
    """The same of a table in memory, without a copy."""
    ids, (first, last) = table["user_id"].to_numpy(), users
    return table[int(np.searchsorted(ids, first)) : int(np.searchsorted(ids, last, "right"))]
