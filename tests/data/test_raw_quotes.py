import csv
import io
import tempfile
from pathlib import Path

import pytest

from stages.common.stage import StageError
from stages.data import raw_quotes
from stages.data.raw_quotes import count_lines, find_quote_char, refuse_swallowed_records
from stages.data.raw_text import header_options, read_table
from tests.properties import hypothesis
from tests.properties import strategies as st

FIELDS = st.text(alphabet='ab ,"\n', max_size=6)  # no digits, which the ids have


def write(folder: Path, text: str) -> Path:
    path = folder / "a.csv"
    path.write_bytes(text.encode())
    return path


@pytest.fixture(params=[1, 3, 1 << 24], autouse=True)
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_quotes, "CHUNK", request.param)


@pytest.mark.parametrize(
    ("text", "quote_char"),
    [
        ("a,b\n1,2\n", None),
        ('a,b\n1,Say "Hi\n', None),
        ('a,b\n1,12"\n', None),
        ('"a","b"\n1,"x, ""y"""\n', '"'),
        ('x"y,b\n1,2\n', None),
        (',"b"\n1,2\n', '"'),
        ('\ufeff"a","b"\n1,""\n', '"'),
        ('a,b\n1,"x\ny"', '"'),
        ('a,b\r\n1,""""\r\n', '"'),
    ],
)
def test_quotes_enclose_fields_if_a_field_begins_with_one(
    text: str, quote_char: str | None, tmp_path: Path
) -> None:
    assert find_quote_char(write(tmp_path, text), ",") == quote_char


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,b\n1,2\n1,"x\n2,y\n', 3),
        ('a,b\n1,"x\n2,"y, z"\n', 2),
        ('a,b\n1,"x"y\n', 2),
        ('a,b\n1,"x"\n2,5" disc\n', 3),
        ('"a,b\n1,2\n', 1),
        ('a,b\n1,"x""\n2,y\n', 2),
    ],
)
def test_an_unbalanced_quote_is_named_by_its_line(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=rf"a\.csv: line {line} has an unbalanced quote; close"):
        find_quote_char(write(tmp_path, text), ",")


def test_tabs_need_no_quotes_if_every_line_has_all_fields(tmp_path: Path) -> None:
    path = write(tmp_path, 'a\tb\n1\t"Q" is\n\n2\tx\n')
    assert find_quote_char(path, "\t") is None
    for text in ('a\tb\r\n1\t"Q" is\r\n\r\n', 'a\tb\n\n1\t"Q" is'):
        assert find_quote_char(write(tmp_path, text), "\t") is None
    for text in (
        'a\tb\n1\t"Q" is\n2\n',
        'a\tb\n1\t"Q" is\r\n2\r\n',
        'a\n1\t"Q" is\n1\t2\n',
    ):
        with pytest.raises(StageError, match="line 2 has an unbalanced quote"):
            find_quote_char(write(tmp_path, text), "\t")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,b,c\n1,"x,2\n3,y",4\n', 2),  # two records
        ('a,b,c\n0,0,0\n1,"x,2\n2,w,3\n3,"", ""y",4\n', 3),
        ('a,b,c\n"1,x,2\n3",y,4\n', 2),  # the key itself
        ('a,b,c\n"1\nx",y,4\n', 2),
        ('"a\nx",b,c\n1,2,3\n', 1),
        ('a,b,c\n1,"x,2\n3,y"\n', 2),  # a record with too few fields
    ],
)
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_record_within_quotes_is_refused(
    text: str, line: int, separator: str, tmp_path: Path
) -> None:
    path = write(tmp_path, text.replace(",", separator))
    with pytest.raises(StageError, match=rf"line {line} opens a quote that other records follow"):
        refuse_swallowed_records(path, separator=separator, num_fields=3, keys=[0])


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize(
    "text", ["x\ny", "x\n\ny, z", "\nI said, yes, no", "1\na,b,c", "1\nv2,b,c"]
)
def test_text_over_several_lines_is_accepted(text: str, separator: str, tmp_path: Path) -> None:
    for table in (
        f'a,b,c\n1,"{text}",2\n3,,4\n5,"{text}","{text}"',
        f'a,b,c\n1,2,"{text}"\n',
    ):
        path = write(tmp_path, table.replace(",", separator))
        refuse_swallowed_records(path, separator=separator, num_fields=3, keys=[0])


@pytest.mark.parametrize(
    "record", ['1,"x\ny",p\rq', '1,p\rq,"x\ny"', '1,2,"x\nh\ri,j\ny"', '1,2,"x\r\ny"\r']
)
def test_a_lone_carriage_return_ends_no_record(record: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"a,b,c\n{record}\n")
    refuse_swallowed_records(path, separator=",", num_fields=3, keys=[0])
    path = write(tmp_path, f'a,b,c\n{record}\n1,"x\n2,y\r,3\n",4\n')
    with pytest.raises(StageError, match="opens a quote that other records follow"):
        refuse_swallowed_records(path, separator=",", num_fields=3, keys=[0])


def test_words_are_no_key_of_one_word(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b,c\nk,"x\ntwo words,b,c\ny",2\n')
    refuse_swallowed_records(path, separator=",", num_fields=3, keys=[0])


def test_the_header_may_have_several_lines_and_text_may_be_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path, ',"b\nx",c\n1,2,3\n')
    refuse_swallowed_records(path, separator=",", num_fields=3, keys=[2])
    path.write_bytes(b'a,b,c\n1,"x\xff\ny",2\n')
    refuse_swallowed_records(path, separator=",", num_fields=3, keys=[0])


def test_lines_are_counted_with_an_unfinished_one(tmp_path: Path) -> None:
    assert count_lines(write(tmp_path, "a\n1\n2")) == count_lines(write(tmp_path, "a\n1\n2\n")) == 3
    assert count_lines(write(tmp_path, "a")) == count_lines(write(tmp_path, "\n")) == 1
    assert count_lines(write(tmp_path, "\ufeff")) == 0


@hypothesis.given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=6), st.booleans())
def test_a_table_is_read_as_the_csv_module_reads_it(rows: list, quotes_all: bool) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if quotes_all else csv.QUOTE_MINIMAL)
    writer.writerows([("id", "a", "b"), *((f"k{n}", *row) for n, row in enumerate(rows))])
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), text.getvalue())
        table = read_table(path, ["id", "a", "b"], ["id"], **header_options(path))
    values = [tuple(value or "" for value in row) for row in table.rows()]
    assert values == [(f"k{n}", *row) for n, row in enumerate(rows)]


@hypothesis.given(st.text(alphabet='a,"\n', max_size=20))
def test_what_is_accepted_is_what_the_csv_module_accepts(text: str) -> None:
    text = f'x,"y"\n{text}'
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), text)
        try:
            list(csv.reader(io.StringIO(text, newline=""), strict=True))
        except csv.Error:
            with pytest.raises(StageError, match="unbalanced quote"):
                find_quote_char(path, ",")
            return
        try:
            assert find_quote_char(path, ",") == '"'
        except StageError:  # stricter than the module: a quote within a field without quotes
            fields = [f for row in csv.reader(io.StringIO(text, newline="")) for f in row]
            assert any('"' in field for field in fields)
