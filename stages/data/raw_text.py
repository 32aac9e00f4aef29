"""Read text tables safely: no line is lost unnoticed, and nothing is decompressed."""

import warnings
from pathlib import Path
from typing import Any

import polars as pl

from stages.common.stage import StageError

SEPARATORS = ",\t;|"
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
CHUNK = 1 << 22  # bytes


def header_options(path: Path) -> dict[str, Any]:
    """Return the CSV options of a file with a header: the separator that it contains most often."""
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline()
    return {"separator": max(SEPARATORS, key=header.count)}


def read_first_row(path: Path, **options: Any) -> pl.DataFrame:
    """Read the first row as text, with the column names of the header.

    Raises:
        StageError: The file is empty, compressed, a web page or in another encoding.
    """
    with path.open("rb") as file:
        start = file.read(8).removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, problem in FOREIGN_STARTS.items():
        if start.startswith(magic):
            raise StageError(f"{path}: {problem}")
    return _read_csv(path, n_rows=1, infer_schema=False, **options)


def read_columns(path: Path, types: dict[str, type[pl.DataType]], **options: Any) -> pl.DataFrame:
    """Read the columns in `types`; a value that does not parse as its type becomes null."""
    return _read_csv(
        path,
        columns=list(types),
        schema_overrides=types,
        infer_schema=False,
        ignore_errors=True,
        **options,
    )


def check_one_row_per_line(rows: int, path: Path) -> None:
    """Check that a file with a header has as many lines below it as the `rows` that were read.

    An unclosed quote makes one field of several lines, so that rows are missing.

    Raises:
        StageError: The numbers differ.
    """
    lines, last_byte = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            lines, last_byte = lines + chunk.count(b"\n"), chunk[-1:]
    lines += (last_byte != b"\n") - 1  # the header
    if lines != rows:
        raise StageError(f"{path}: has {lines:,} lines but {rows:,} rows; correct its quotes")


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


def _read_csv(path: Path, **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        # Polars warns of unclosed quotes; `check_one_row_per_line` reports the rows they lose.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return pl.read_csv(path, **options)
        except pl.exceptions.NoDataError:
            raise StageError(f"{path}: is empty; add the data") from None
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            if "utf-8" in reason:
                raise StageError(f"{path}: is not in UTF-8; save it as UTF-8") from None
            raise StageError(f"{path}: {reason}; correct the file") from None
