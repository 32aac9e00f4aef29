"""Read text tables safely: no line is swallowed unnoticed, nothing is unpacked on the way."""

import warnings
from pathlib import Path
from typing import Any

import polars as pl

from stages.common.stage import StageError

SEPARATORS = ",\t;|"
# What a file begins with that is no plain text in UTF-8. A small compressed file may unpack to any
# size, so none is unpacked here.
FOREIGN = {
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
CHUNK = 1 << 22


def separator(path: Path) -> dict[str, Any]:
    """The options by which a file with a header is read: what stands most often in the header."""
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline()
    return {"separator": max(SEPARATORS, key=header.count)}


def head(path: Path, **options: Any) -> pl.DataFrame:
    """The first row as text, under the header's names."""
    with path.open("rb") as file:
        start = file.read(8).removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, problem in FOREIGN.items():
        if start.startswith(magic):
            raise StageError(f"{path}: {problem}")
    return _read(path, n_rows=1, infer_schema=False, **options)


def table(path: Path, types: dict[str, type[pl.DataType]], **options: Any) -> pl.DataFrame:
    """The columns `types`; a value that is not of its type becomes null."""
    return _read(
        path,
        columns=list(types),
        schema_overrides=types,
        infer_schema=False,
        ignore_errors=True,
        **options,
    )


def one_row_per_line(rows: int, path: Path) -> None:
    """Refuse a file with a header in which a quote that is not closed made one field of many lines.

    Raises:
        StageError: The file has more or fewer lines than the `rows` that were read.
    """
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            lines, last = lines + chunk.count(b"\n"), chunk[-1:]
    lines += (last != b"\n") - 1  # the header
    if lines != rows:
        raise StageError(f"{path}: has {lines:,} lines but {rows:,} rows; correct its quotes")


def fields(path: Path, parts: str, least: int) -> pl.DataFrame:
    """The fields of a file without a header, as one list column; in UTF-8, or else in latin-1.

    Raises:
        StageError: The file is empty, or a line has less than `least` fields.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise StageError(f"{path}: is empty; put the data in")
    found = pl.DataFrame({"fields": lines}).select(
        pl.col("fields").str.strip_chars_end("\r").str.split(parts)
    )
    if found["fields"].list.len().min() < least:
        raise StageError(f"{path}: a line has less than {least} fields; take the file again")
    return found


def _read(path: Path, **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        # Polars warns of quotes; `one_row_per_line` makes an error of what that loses.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return pl.read_csv(path, **options)
        except pl.exceptions.NoDataError:
            raise StageError(f"{path}: is empty; put the data in") from None
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            if "utf-8" in reason:
                raise StageError(f"{path}: is not in UTF-8; save it so") from None
            raise StageError(f"{path}: {reason}; correct the file") from None
