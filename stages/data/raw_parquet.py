"""Read the columns of a parquet file as text, numbers or lists of text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from stages.common.stage import StageError
from stages.data.raw_columns import Columns, find_columns

IDS = ("user_id", "movie_id")


def read_parquet(
    path: Path, columns: Columns, fields: tuple[str, ...], required: set[str]
) -> pl.DataFrame:
    """Read the columns of `fields` that the file has, with the names of the pipeline.

    Ids are text or whole numbers, times are text or numbers (seconds since 1970), genres are text
    or lists of text, and all others are text or numbers.

    Raises:
        StageError: The file cannot be read, lacks a column, or has one of another type.
    """
    names = find_columns(read_parquet_header(path), columns, fields, required, path)
    with _readable(path):
        table = pl.read_parquet(path, columns=list(names.values()))
    return pl.DataFrame(
        [_convert(table[name], key, path).alias(key) for key, name in names.items()]
    )


def read_parquet_header(path: Path) -> list[str]:
    """Return the names of the columns.

    Raises:
        StageError: The file cannot be read.
    """
    with _readable(path):
        return list(pl.read_parquet_schema(path))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StageError(f"{path}: {str(error).splitlines()[0]}; write it again") from None


def _convert(column: pl.Series, key: str, path: Path) -> pl.Series:
    kind = column.dtype
    if kind in (pl.Categorical, pl.Enum, pl.Null):
        column = column.cast(pl.String)
    elif kind == pl.Binary:
        column = _decode(column, path)
    elif kind.is_decimal() or kind == pl.Boolean:
        column = column.cast(pl.Float64)
    elif key == "timestamp" and kind in (pl.Datetime, pl.Date):
        column = column.dt.epoch("s")
    elif key == "year" and kind in (pl.Datetime, pl.Date):
        column = column.dt.year()
    elif key == "genres" and kind in (pl.List, pl.Array):
        column = _name_lists(column, path)
    elif kind != pl.String and not kind.is_numeric():
        choice = "timestamps" if key == "timestamp" else "text or numbers"
        raise StageError(f"{path}: column {column.name!r} has the type {kind}; write {choice}")
    if key in IDS and column.dtype.is_float():
        # Whole numbers with gaps are often stored as floats.
        whole = column.cast(pl.Int64, strict=False)
        column = whole if (whole == column.fill_nan(None)).all() else column.cast(pl.String)
    return column


def _decode(column: pl.Series, path: Path) -> pl.Series:
    """Return bytes as text."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise StageError(f"{path}: column {column.name!r} is not text; write text") from None


def _name_lists(column: pl.Series, path: Path) -> pl.Series:
    """Return lists of text, or of structs with a `name`, as lists of text."""
    lists = column.arr.to_list() if column.dtype == pl.Array else column
    inner, item = lists.dtype.inner, pl.element()
    if inner == pl.Struct:
        if "name" not in [field.name for field in inner.fields]:
            raise StageError(f"{path}: column {column.name!r} has structs without a name; write it")
        item = item.struct.field("name")
    return lists.list.eval(item.cast(pl.String))
