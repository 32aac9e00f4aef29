"""Read text tables safely: no record is lost unnoticed, and nothing is decompressed.

Polars splits the text into records and fields; `stages.data.raw_quotes` makes sure before that the
quotes leave no doubt where these end.
"""

import csv
from pathlib import Path
from typing import Any

import polars as pl

from stages.common.stage import StageError
from stages.data.raw_quotes import count_lines, find_quote_char, refuse_swallowed_records

SEPARATORS = ",\t;|"
# Markers of missing values in the exports of databases, pandas and R.
MISSING = ["", "\\N", "NULL", "null", "NaN", "nan", "NaT", "None", "<NA>", "NA", "N/A", "#N/A"]
# First bytes of files that are not plain UTF-8 text. Compressed files are refused, because a small
# one may decompress to any size.
FOREIGN_STARTS = {
    b"\x1f\x8b": "is compressed; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed; unpack it",
    b"\x78\x01": "is compressed; unpack it",
    b"\x78\x9c": "is compressed; unpack it",
    b"\x78\xda": "is compressed; unpack it",
    b"PK\x03\x04": "is a zip file; unpack it",
    b"\xff\xfe": "is in UTF-16; save it as UTF-8",
    b"\xfe\xff": "is in UTF-16; save it as UTF-8",
    b"<": "is a web page; download the file again",
}


def missing_to_null(column: pl.Expr) -> pl.Expr:
    """Return a text column without surrounding blanks; markers of missing values become null."""
    text = column.str.strip_chars()
    return pl.when(~text.is_in(MISSING)).then(text)


def header_options(path: Path, has_quotes: bool = True) -> dict[str, Any]:
    """Return the CSV options of a file with a header.

    The separator is the one that the header contains most often. Without `has_quotes`, quotes are
    characters like any other.

    Raises:
        StageError: The file is empty, compressed, a web page, in another encoding, or a quote is
            unbalanced.
    """
    separator = max(SEPARATORS, key=_first_line(path).count)
    quote_char = find_quote_char(path, separator) if has_quotes else None
    return {"separator": separator, "quote_char": quote_char}


def read_header(path: Path) -> list[str]:
    """Return the names of the columns, from the start of the file alone.

    Raises:
        StageError: As `header_options`, but for the quotes of later lines.
    """
    line = _first_line(path)
    separator = max(SEPARATORS, key=line.count)
    has_quotes = any(field.startswith('"') for field in line.split(separator))
    return _read_csv(
        path, n_rows=0, separator=separator, quote_char='"' if has_quotes else None
    ).columns


def _first_line(path: Path) -> str:
    _check_start(path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
        line = file.readline()
    if "\r" in line.rstrip("\r\n"):
        raise StageError(f"{path}: has carriage returns as line ends; save it with line feeds")
    return line


def read_first_rows(path: Path, num_rows: int, **options: Any) -> pl.DataFrame:
    """Read the first rows as text, with the column names of the header.

    Raises:
        StageError: The file is empty, compressed, a web page or in another encoding.
    """
    _check_start(path)
    return _read_csv(path, n_rows=num_rows, **options)


def read_columns(path: Path, columns: list[str], **options: Any) -> pl.DataFrame:
    """Read `columns` as text; an empty field is null.

    Raises:
        StageError: A line has more fields than the first one, or the file is not in UTF-8.
    """
    return _read_csv(path, columns, **options)


def read_table(path: Path, columns: list[str], keys: list[str], **options: Any) -> pl.DataFrame:
    """Read `columns` of a file with a header as text, one row for each record.

    Args:
        path: The file.
        columns: Names of the columns to read.
        keys: Those of the columns whose values tell a record from a line of text, such as ids.
        options: From `header_options`.

    Raises:
        StageError: As `read_columns`, or a quoted field holds other records.
    """
    table = read_columns(path, columns, **options)
    if options["quote_char"] and count_lines(path) != table.height + 1:  # the header
        header = read_first_rows(path, 1, **options).columns
        refuse_swallowed_records(
            path,
            separator=options["separator"],
            num_fields=len(header),
            keys=[header.index(key) for key in keys],
        )
    return table


def read_split_lines(path: Path, separator: str, min_fields: int) -> pl.DataFrame:
    """Split the lines of a file without a header into one list column, `fields`.

    The text is decoded as UTF-8, or as latin-1 if it is not UTF-8.

    Raises:
        StageError: The file is empty, or a line has fewer than `min_fields` fields.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise StageError(f"{path}: is empty; add the data")
    table = pl.DataFrame({"fields": lines}).select(
        pl.col("fields").str.strip_chars_end("\r").str.split(separator)
    )
    if table["fields"].list.len().min() < min_fields:
        raise StageError(
            f"{path}: has a line with fewer than {min_fields} fields; download it again"
        )
    return table


def _check_start(path: Path) -> None:
    """Raise a StageError if the file is empty, or its first bytes are not those of a table."""
    with path.open("rb") as file:
        start = file.read(8).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start and path.stat().st_size < 8:
        raise StageError(f"{path}: is empty; add the data")
    for magic, problem in FOREIGN_STARTS.items():
        if start.startswith(magic):
            raise StageError(f"{path}: {problem}")


def _read_csv(path: Path, columns: list[str] | None = None, **options: Any) -> pl.DataFrame:
    try:
        # All columns: if it reads only some, Polars passes over a line with too many fields.
        table = pl.read_csv(path, infer_schema=False, **options)
        return table if columns is None else table.select(columns)
    except pl.exceptions.NoDataError:
        raise StageError(f"{path}: is empty; add the data") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        if "utf-8" in reason:
            raise StageError(f"{path}: is not in UTF-8; save it as UTF-8") from None
        if "more fields" in reason:
            _refuse_long_record(path, options["separator"], options["quote_char"])
        raise StageError(f"{path}: {reason}; correct the file") from None


def _refuse_long_record(path: Path, separator: str, quote_char: str | None) -> None:
    """Raise a StageError that names the first record with more fields than the first one."""
    quoting = csv.QUOTE_MINIMAL if quote_char else csv.QUOTE_NONE
    csv.field_size_limit(path.stat().st_size + 1)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=separator, quoting=quoting)
        num_fields = len(next(reader))
        for fields in reader:
            if len(fields) > num_fields:
                raise StageError(
                    f"{path}: line {reader.line_num} has more fields than the first line; "
                    f"correct it, or put a field that contains {separator!r} in quotes"
                )
