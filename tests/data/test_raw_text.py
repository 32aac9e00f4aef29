from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data.raw_text import (
    check_one_row_per_line,
    header_options,
    read_columns,
    read_split_lines,
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
    assert header_options(path) == {"separator": separator}


def test_a_value_of_another_type_is_null(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n1.5,x\nno,y\n")
    table = read_columns(path, {"a": pl.Float64}, separator=",")
    assert table.to_dict(as_series=False) == {"a": [1.5, None]}


@pytest.mark.parametrize("content", [b"a\n1\n2\n", b"a\n1\n2"])
def test_every_line_below_the_header_must_be_a_row(content: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    check_one_row_per_line(2, path)
    with pytest.raises(StageError, match=r"a\.csv: has 2 lines but 1 rows; correct its quotes"):
        check_one_row_per_line(1, path)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_lines_are_split_in_either_encoding(encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path, "1::É\r\n\n2::B::C\n".encode(encoding))
    rows = read_split_lines(path, "::", min_fields=2)["fields"].to_list()
    assert rows == [["1", "É"], ["2", "B", "C"]]
    with pytest.raises(StageError, match=r"has a line with fewer than 3 fields"):
        read_split_lines(path, "::", min_fields=3)
