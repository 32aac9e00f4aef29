import re
from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data.raw_text import (
    FOREIGN_STARTS,
    MISSING,
    header_options,
    missing_to_null,
    read_columns,
    read_first_rows,
    read_header,
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


@pytest.mark.parametrize(
    "content",
    [
        *(b'a,b\n1,"x\ny"\n', b'a,b\n1,"x\ny"', b'a,b\r\n1,"x\ny"\r\n'),
        b'a;b\n1;"x\ny"\n',
    ],
)
def test_a_quoted_field_may_span_lines(content: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    table = read_table(path, ["a", "b"], ["a"], **header_options(path))
    assert table.rows() == [("1", "x\ny")]


def test_a_long_record_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b\n"1\n2",3\n4,5,6\n')
    with pytest.raises(StageError, match=r"a\.csv: line 4 has more fields than the first line; "):
        read_table(path, ["a", "b"], ["b"], **header_options(path))


@pytest.mark.parametrize(
    ("content", "options", "line"),
    [
        (b'a,b\n"1,2",3\n4,5,6\n', {"separator": ",", "quote_char": '"'}, 3),
        (b'a\tb\n"1\t2\t3\n4\t5\n', {"separator": "\t", "quote_char": None}, 2),
        ("é,b\n1,2\né,5,6\n".encode(), {"separator": ",", "quote_char": None}, 3),
    ],
)
def test_quotes_of_a_long_record_count_only_where_fields_are_in_quotes(
    tmp_path: Path, content: bytes, options: dict, line: int
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(StageError, match=rf"a\.csv: line {line} has more fields than the first"):
        read_columns(path, list("ab") if content[:1] == b"a" else ["é", "b"], **options)


def test_markers_of_missing_values_become_null() -> None:
    table = pl.DataFrame({"a": [" x ", "\\N", "NULL", " ", "nan", "None", "null x", None]})
    column = table.select(missing_to_null(pl.col("a")))["a"]
    assert column.to_list() == ["x", None, None, None, None, None, "null x", None]

    markers = pl.DataFrame({"a": [f" {marker}\t" for marker in MISSING]})
    assert markers.select(missing_to_null(pl.col("a")))["a"].null_count() == len(MISSING) == 12


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_lines_are_split_in_either_encoding(encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path, "1::É\r\n\n2::B::C\n".encode(encoding))
    rows = read_split_lines(path, "::", min_fields=2)["fields"].to_list()
    assert rows == [["1", "É"], ["2", "B", "C"]]
    path = write(tmp_path, b"1::TAXX \r\n2:: X\r\n")
    rows = read_split_lines(path, "::", min_fields=2)["fields"].to_list()
    assert rows == [["1", "TAXX "], ["2", " X"]]
    with pytest.raises(StageError, match=r"has a line with fewer than 3 fields"):
        read_split_lines(path, "::", min_fields=3)


def refused(path: Path, message: str) -> None:
    """The first row and the options of the header end with one message."""
    for read in (header_options, lambda path: read_first_rows(path, 1, separator=",")):
        with pytest.raises(StageError, match=f"^{re.escape(f'{path}: {message}')}$"):
            read(path)


def test_files_that_are_no_plain_text_are_named(tmp_path: Path) -> None:
    for start, problem in FOREIGN_STARTS.items():
        refused(write(tmp_path, start + b"a,b\n1,2\n"), problem)
    refused(write(tmp_path, b"\xef\xbb\xbf\n <html>"), FOREIGN_STARTS[b"<"])
    for blanks in (b"", b"\xef\xbb\xbf", b" \n \n \n "):
        refused(write(tmp_path, blanks), "is empty; add the data")
    for text in (b"a,b\n1,2\n", b"\n\n\n\n\n\n\n\na,b\n1,2\n", b"a<,b\n1,2\n"):
        assert header_options(write(tmp_path, text))["separator"] == ","


@pytest.mark.parametrize("size", [7, 8, 9, 20])
def test_a_file_of_empty_lines_is_empty(tmp_path: Path, size: int) -> None:
    path = write(tmp_path, b"\n" * size)
    with pytest.raises(StageError, match=rf"^{path}: is empty; add the data$"):
        read_first_rows(path, 1, separator=",")


def test_old_line_ends_are_refused(tmp_path: Path) -> None:
    for content in (b"a,b\r1,2\r", b"a,b\rX\n", b"a,b\r \n"):
        path = write(tmp_path, content)
        message = f"{path}: has carriage returns as line ends; save it with line feeds"
        with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
            header_options(path)
    for content in (b"a;b,c;d\r\n1\r2", b"a;b,c;d\n"):
        assert header_options(write(tmp_path, content))["separator"] == ";"


def test_quotes_are_looked_for_only_where_there_may_be_some(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b\n1,"x"\n2,"x\n')
    assert header_options(path, has_quotes=False) == {"separator": ",", "quote_char": None}
    with pytest.raises(StageError, match="unbalanced"):
        header_options(path)
    # A header in another encoding has a separator as well; its text is refused later.
    assert header_options(write(tmp_path, b"\xe9;b;c,d\n"))["separator"] == ";"


def test_the_names_of_a_header_may_be_in_quotes(tmp_path: Path) -> None:
    for text, names in {
        b'\xef\xbb\xbf"a,b",c,d\n1,"2\n': ["a,b", "c", "d"],
        b'a;"b;c"\n': ["a", "b;c"],
        b'a"|b"\n': ['a"', 'b"'],
        b'a\tb "c"\r\n1\t2\n': ["a", 'b "c"'],
    }.items():
        assert read_header(write(tmp_path, text)) == names


def test_of_equally_frequent_separators_the_first_one_counts(tmp_path: Path) -> None:
    texts = {b"a": ",", b"a|b;c": ";", b"a|b;c\td": "\t", b"a\tb,c": ",", b"a,b|c|d": "|"}
    for text, separator in texts.items():
        assert header_options(write(tmp_path, text))["separator"] == separator


def test_the_first_row_and_the_columns_are_text(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b,c\n01,2,\n3,4,5\n")
    assert read_first_rows(path, 1, separator=",").row(0, named=True) == {
        "a": "01",
        "b": "2",
        "c": None,
    }
    assert read_first_rows(path, 1, separator=",").height == 1
    assert read_columns(path, ["c", "a"], separator=",").rows(named=True) == [
        {"a": "01", "c": None},
        {"a": "3", "c": "5"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,\xe9\n", "is not in UTF-8; save it as UTF-8"),
        (
            b'a,b\n1,"2\n2"\n1,2,3\n1,2,3\n',
            "line 4 has more fields than the first line; "
            "correct it, or put a field that contains ',' in quotes",
        ),
        (b"a,b\n1,\xe9,5\n", "is not in UTF-8; save it as UTF-8"),
        (b"a,\xe9\n1,2,3\n", "line 2 has more fields than the first line; correct it, or put"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(StageError, match=f"^{re.escape(f'{path}: {message}')}"):
        read_columns(path, ["a", "b"], separator=",", quote_char='"')


def test_without_quoting_a_long_record_ends_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, b'a\tb\n"1\t2\n2"\t3\t4\n')
    with pytest.raises(StageError, match=r": line 3 has more fields .* contains '\\t' in quotes$"):
        read_columns(path, ["a", "b"], separator="\t", quote_char=None)


def test_a_long_record_is_an_error_also_where_only_some_columns_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, b"id,title,note\n1,A,\n2,B, the one,x\n")
    with pytest.raises(StageError, match="line 3 has more fields than the first line"):
        read_columns(path, ["id", "title"], **header_options(path))


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n1,2\n")
    with pytest.raises(StageError, match=rf"^{path}: [^\n]*z[^\n]*; correct the file$"):
        read_columns(path, ["z"], separator=",", quote_char='"')


def test_a_record_within_quotes_is_refused_by_its_keys(tmp_path: Path) -> None:
    path = write(tmp_path, b'b,a,c\nx,1,"y\nz,2,w"\n')
    options = header_options(path)
    with pytest.raises(StageError, match=r": line 2 opens a quote that other records follow"):
        read_table(path, ["a", "b"], ["a"], **options)
    path = write(tmp_path, b'b,a,c\nx,1,"y\nz,w,w"\n')
    assert read_table(path, ["a", "c"], ["a"], **options).rows() == [("1", "y\nz,w,w")]
    with pytest.raises(StageError, match=r": line 2 opens a quote that other records follow"):
        read_table(path, ["a", "b"], ["b"], **options)


def test_quotes_within_fields_hold_no_records_in_a_file_that_begins_with_empty_lines(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, b'\n\na,b\n1,5" x\n2,6" y\n')
    table = read_table(path, ["a", "b"], ["a"], **header_options(path))
    assert table.rows() == [("1", '5" x'), ("2", '6" y')]


def test_lines_need_all_fields(tmp_path: Path) -> None:
    path = write(tmp_path, b"1|a|x\n \n2|b|\r\n")
    assert read_split_lines(path, "|", min_fields=3).to_dict(as_series=False) == {
        "fields": [["1", "a", "x"], ["2", "b", ""]]
    }
    message = f"{path}: has a line with fewer than 4 fields; download it again"
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        read_split_lines(path, "|", min_fields=4)
    path = write(tmp_path, b"\n \n\r\n")
    with pytest.raises(StageError, match=rf"^{path}: is empty; add the data$"):
        read_split_lines(path, "|", min_fields=1)
