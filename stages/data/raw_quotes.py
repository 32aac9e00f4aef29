"""Check the quotes of a text table, so that no record disappears in a quoted field.

A field in quotes begins and ends with `"`, may span several lines, and has `""` for each `"` in it
(RFC 4180). A stray quote makes the lines up to the next one a single field:

    1,One,"Acme,Drama
    2,Two,Bee",Drama

is one record by the rule, and two by intention.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.common.stage import StageError

QUOTE, NEWLINE, RETURN = b'"\n\r'
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CHUNK = 1 << 24  # bytes
NUMBER = re.compile(r"\s*[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?\s*")
CURE = "close it, or write it twice within a field in quotes"


def find_quote_char(path: Path, separator: str) -> str | None:
    """Return `"` if fields are in quotes, or None if quotes are characters like any other.

    They are if no field begins with one. They also are in a tab-separated file that breaks the
    rule, if each of its lines has all fields, as such files are often written without quoting.

    Raises:
        StageError: Fields are in quotes, and a quote breaks the rule.
    """
    data = _bytes(path)
    is_border = np.zeros(256, dtype=bool)
    is_border[[ord(separator), NEWLINE, RETURN]] = True
    opens_field, count, first_invalid = False, 0, None
    for quotes in _positions_by_chunk(data, QUOTE):
        before, after = _byte_at(data, quotes - 1), _byte_at(data, quotes + 1)
        opens_field |= bool(is_border[before].any())
        # Quotes open and close in turn; `""` closes and opens again.
        outer = np.where((np.arange(len(quotes)) + count) % 2 == 0, before, after)
        is_invalid = ~(is_border[outer] | (outer == QUOTE))
        if first_invalid is None and is_invalid.any():
            first_invalid = count + int(np.argmax(is_invalid))
        count += len(quotes)
    if not opens_field:
        return None
    if first_invalid is None and count % 2 == 0:
        return '"'
    ends = _line_ends(data)
    if separator == "\t" and _lines_have_equal_fields(data, ends, separator):
        return None
    index = count - 1 if first_invalid is None else first_invalid
    line = np.searchsorted(ends, _positions(data, QUOTE)[index - index % 2]) + 1
    raise StageError(f"{path}: line {line} has an unbalanced quote; {CURE}")


def refuse_swallowed_records(
    path: Path, *, separator: str, num_fields: int, keys: list[int]
) -> None:
    """Check the records of several lines in a file whose fields are in quotes.

    Args:
        path: A file that `find_quote_char` has accepted.
        separator: Of the fields.
        num_fields: The number of fields of the header.
        keys: Indices of the fields that tell a record from a line of text, such as ids.

    Raises:
        StageError: A line within a quoted field looks like a record, a key spans several lines,
            or a record of several lines has another number of fields than the header.
    """
    data = _bytes(path)
    ends, quotes = _line_ends(data), _positions(data, QUOTE)
    is_within = np.searchsorted(quotes, ends) % 2 == 1
    record_ends = ends[~is_within]
    for record in np.unique(np.searchsorted(record_ends, ends[is_within])):
        start = record_ends[record - 1] + 1 if record else 0
        text = bytes(data[start : record_ends[record]]).decode(errors="replace")
        # A lone carriage return ends a record for the csv module, but not for Polars.
        if _swallows(text.replace("\r", " "), separator, num_fields, keys):
            line = np.searchsorted(ends, start) + 1
            raise StageError(f"{path}: line {line} opens a quote that other records follow; {CURE}")


def count_lines(path: Path) -> int:
    """Return the number of lines, with the last one even if no line break ends it."""
    data = _bytes(path)
    lines = sum(len(positions) for positions in _positions_by_chunk(data, NEWLINE))
    return lines + int(len(data) > 0 and data[-1] != NEWLINE)


def _swallows(text: str, separator: str, num_fields: int, keys: list[int]) -> bool:
    """Return whether one of the lines of the record `text` looks like a record of its own."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    fields = next(csv.reader([text], delimiter=separator))
    if len(fields) != num_fields or any("\n" in fields[key] for key in keys):
        return True
    traits = [_traits(fields[key]) for key in keys]
    for line in text.split("\n")[1:]:
        parts = next(csv.reader([line], delimiter=separator))
        if len(parts) == num_fields and [_traits(parts[key]) for key in keys] == traits:
            return True
    return False


def _traits(value: str) -> tuple[bool, bool, bool]:
    """Return whether a value is a number, has digits, and has blanks between words."""
    is_number = NUMBER.fullmatch(value) is not None
    return is_number, any(map(str.isdigit, value)), " " in value.strip()


def _lines_have_equal_fields(data: np.ndarray, ends: np.ndarray, separator: str) -> bool:
    """Return whether all lines that are not empty have as many separators as the first one."""
    counts = np.diff(np.searchsorted(_positions(data, ord(separator)), ends), prepend=0)
    is_empty = np.diff(ends, prepend=-1) - (_byte_at(data, ends - 1) == RETURN) <= 1
    return bool(((counts == counts[0]) | is_empty).all())


def _bytes(path: Path) -> np.ndarray:
    """Return the bytes of a file that is not empty, without a byte order mark."""
    data = np.memmap(path, mode="r")
    mark = len(BYTE_ORDER_MARK)
    return data[mark:] if data[:mark].tobytes() == BYTE_ORDER_MARK else data


def _byte_at(data: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the bytes at `positions`, and a line break before the first and after the last one."""
    is_inside = (positions >= 0) & (positions < len(data))
    return np.where(is_inside, data.take(positions, mode="clip"), NEWLINE)


def _positions_by_chunk(data: np.ndarray, byte: int) -> Iterator[np.ndarray]:
    """Yield the sorted positions of `byte`, those of one part of the data after the other."""
    for start in range(0, len(data), CHUNK):
        yield np.flatnonzero(data[start : start + CHUNK] == byte) + start


def _positions(data: np.ndarray, byte: int) -> np.ndarray:
    return np.concatenate(list(_positions_by_chunk(data, byte)))


def _line_ends(data: np.ndarray) -> np.ndarray:
    """Return the positions of the line breaks, and the end, where a line may end too."""
    return np.append(_positions(data, NEWLINE), len(data))
