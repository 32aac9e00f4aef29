from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data.raw_text import (
    header_options,
    missing_to_null,
    read_split_lines,
    read_table,
)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "a.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
def test_the_separator_is_the_most_frequent_one_of_the_header(
    separator: str, tmp_path: Path
) -> None:
    path = write(tmp_path, separator.join(["a", "b", "c d"]).encode())
    assert header_options(path) == {"separator": separator, "quote_char": None}


@pytest.mark.parametrize("content", [b'a,b\n1,"x\ny"\n', b'a,b\n1,"x\ny"', b'a,b\r\n1,"x\ny"\r\n'])
def test_a_quoted_field_may_span_lines(content: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    table = read_table(path, ["a", "b"], ["a"], **header_options(path))
    assert table.rows() == [("1", "x\ny")]


def test_a_long_record_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b\n"1\n2",3\n4,5,6\n')
    with pytest.raises(StageError, match=r"a\.csv: line 4 has more fields than the first line; "):
        read_table(path, ["a", "b"], ["b"], **header_options(path))


def test_markers_of_missing_values_become_null() -> None:
    table = pl.DataFrame({"a": [" x ", "\\N", "NULL", " ", "nan", "None", "null x", None]})
    column = table.select(missing_to_null(pl.col("a")))["a"]
    assert column.to_list() == ["x", None, None, None, None, None, "null x", None]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_lines_are_split_in_either_encoding(encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path, "1::É\r\n\n2::B::C\n".encode(encoding))
    rows = read_split_lines(path, "::", min_fields=2)["fields"].to_list()
    assert rows == [["1", "É"], ["2", "B", "C"]]
    with pytest.raises(StageError, match=r"has a line with fewer than 3 fields"):
        read_split_lines(path, "::", min_fields=3)
