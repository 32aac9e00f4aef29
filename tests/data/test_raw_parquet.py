import datetime
import zoneinfo
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data.raw_columns import MOVIE_FIELDS, RATING_FIELDS
from stages.data.raw_parquet import read_parquet
from tests.raw_folder import DEFAULT_COLUMNS, Outputs, run_clean

NAN = float("nan")
TIME = datetime.datetime(2005, 4, 2, 23, 53, 47)
SECONDS = 1112486027
COLUMNS = {"userId": [1], "movieId": [2], "rating": [4.0]}


def clean_with(raw: Path, column: str, values: pl.Series) -> Outputs:
    """Clean one rating of which `column` has these values."""
    table = COLUMNS | {"timestamp": [SECONDS], column: values}
    pl.DataFrame(table).write_parquet(raw / "ratings.parquet")
    return run_clean(raw, clean__rating_min=0)


UTC, TOKYO = (zoneinfo.ZoneInfo(name) for name in ("UTC", "Asia/Tokyo"))


# Series are made within the tests: Polars starts its threads for some, and mutmut forks processes
# after it has imported the tests.
@pytest.mark.parametrize(
    ("time", "kind"),
    [
        *((TIME, pl.Datetime(unit)) for unit in ("ms", "us", "ns")),
        (TIME.replace(tzinfo=UTC).astimezone(TOKYO), pl.Datetime("us", "Asia/Tokyo")),
        (str(SECONDS), pl.String),
        ("2005-04-02T23:53:47Z", pl.Categorical),
        (b"2005-04-02T23:53:47Z", pl.Binary),
        (SECONDS, pl.UInt32),
        (SECONDS, pl.Decimal(20, 2)),
        (SECONDS + 0.5, pl.Float64),
    ],
)
def test_times_of_any_type_are_read(raw: Path, time: Any, kind: pl.DataType) -> None:
    times = pl.Series([time], dtype=kind)
    assert clean_with(raw, "timestamp", times).ratings["timestamp"].to_list() == [SECONDS]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("timestamp", [datetime.time(10)], "'timestamp' has the type Time; write timestamps"),
        ("timestamp", [datetime.timedelta(1)], "'timestamp' has the type Duration.*; write times"),
        ("timestamp", [[1]], r"'timestamp' has the type List\(Int64\); write timestamps"),
        ("rating", [[1]], r"'rating' has the type List\(Int64\); write text or numbers"),
        ("userId", [{"a": 1}], "'userId' has the type Struct.*; write text or numbers"),
        ("movieId", [datetime.date(2005, 4, 2)], "'movieId' has the type Date; write text or"),
        ("movieId", [b"\xff"], "'movieId' is not text; write text"),
    ],
)
def test_other_types_are_one_line(raw: Path, column: str, values: list, message: str) -> None:
    with pytest.raises(StageError, match=rf"ratings\.parquet: column {message}"):
        clean_with(raw, column, pl.Series(values))


@pytest.mark.parametrize(
    ("column", "value", "row"),
    [
        ("userId", 3.0, ("3", "2", 4)),
        ("userId", 3.5, ("3.5", "2", 4)),
        ("movieId", b"tt2", ("1", "tt2", 4)),
        ("rating", True, ("1", "2", 1)),
        ("rating", "3.5", ("1", "2", 3.5)),
    ],
)
def test_ids_and_ratings_of_any_type_are_read(
    raw: Path, column: str, value: Any, row: tuple
) -> None:
    assert clean_with(raw, column, pl.Series([value])).raw_rows() == [row]


def test_a_column_without_values_is_missing(raw: Path) -> None:
    with pytest.raises(StageError, match=r"data row 1 has no time, and 100\.0% of the rows cannot"):
        clean_with(raw, "timestamp", pl.Series([None]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ("Drama, War", pl.String),
        (["Drama", "War"], pl.List(pl.String)),
        (["Drama ", "War"], pl.Array(pl.String, 2)),
        ([{"id": 1, "name": "Drama"}, {"id": 2, "name": "War"}], None),
    ],
)
@pytest.mark.parametrize("year", [1999, 1999.0, "1999", datetime.date(1999, 4, 2)])
def test_genres_and_years_of_any_type_are_read(
    raw: Path, values: Any, kind: pl.DataType | None, year: Any
) -> None:
    genres = pl.Series([values], dtype=kind)
    table = {"movieId": [2], "title": ["A"], "year": [year], "genres": genres}
    pl.DataFrame(table).write_parquet(raw / "movies.parquet")
    outputs = clean_with(raw, "rating", pl.Series([4]))
    assert outputs.catalogue.rows() == [(2, "A (1999)", 1999, ["Drama", "War"])]


def test_the_columns_get_the_names_and_the_order_of_the_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    table = {"stars": [3], "timestamp": [5], "other": [[1]], "item_id": ["a"], "userId": [7]}
    pl.DataFrame(table).write_parquet(path)
    columns = DEFAULT_COLUMNS.model_copy(update={"rating": "stars"})
    read = read_parquet(path, columns, RATING_FIELDS, {"user"})
    assert read.rows(named=True) == [{"user_id": 7, "movie_id": "a", "rating": 3, "timestamp": 5}]
    assert read.columns == ["user_id", "movie_id", "rating", "timestamp"]
    movies = read_parquet(path, DEFAULT_COLUMNS, MOVIE_FIELDS, set())
    assert movies.rows(named=True) == [{"movie_id": "a"}]
    with pytest.raises(StageError, match=rf"^{path}: has no column 'title' among stars, times"):
        read_parquet(path, DEFAULT_COLUMNS, MOVIE_FIELDS, {"title"})


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" * 10])
def test_a_file_that_is_no_parquet_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(content)
    with pytest.raises(StageError, match=rf"^{path}: [^\n]+; write it again$"):
        read_parquet(path, DEFAULT_COLUMNS, RATING_FIELDS, set())
    with pytest.raises(StageError, match=rf"^{tmp_path / 'none'}: [^\n]+; write it again$"):
        read_parquet(tmp_path / "none", DEFAULT_COLUMNS, RATING_FIELDS, set())


def test_a_damaged_column_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pl.DataFrame({"userId": range(1000), "movieId": range(1000)}).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[40:90] = b"\xff" * 50
    path.write_bytes(content)
    with pytest.raises(StageError, match=rf"^{path}: [^\n]+; write it again$"):
        read_parquet(path, DEFAULT_COLUMNS, RATING_FIELDS, set())


# A column of the pipeline, its values and their type, and those that are read.
CONVERTED = [
    ("userId", [3.0, None, NAN], pl.Float64, [3, None, None], pl.Int64),
    ("movieId", [3.5, None, 2.0], pl.Float64, ["3.5", None, "2.0"], pl.String),
    ("userId", [3, None], pl.Decimal(9, 1), [3, None], pl.Int64),
    ("movieId", [2**40], pl.Int64, [2**40], pl.Int64),
    ("rating", [3.0, NAN], pl.Float64, [3.0, NAN], pl.Float64),
    ("rating", [True, None], pl.Boolean, [1.0, None], pl.Float64),
    ("rating", [None], pl.Null, [None], pl.String),
    ("timestamp", [datetime.date(1970, 1, 2)], pl.Date, [86_400], pl.Int64),
    ("timestamp", ["a"], pl.Enum(["a"]), ["a"], pl.String),
    ("title", [b"\xc3\xa9", None], pl.Binary, ["\u00e9", None], pl.String),
    ("year", [TIME], pl.Datetime("us"), [2005], pl.Int32),
    ("genres", [[1, None]], pl.List(pl.Int64), [["1", None]], pl.List(pl.String)),
    ("genres", [7], pl.Int64, [7], pl.Int64),
]


@pytest.mark.parametrize(("name", "values", "kind", "expected", "read_kind"), CONVERTED)
def test_columns_of_any_type_become_text_numbers_or_lists(
    name: str,
    values: list,
    kind: pl.DataType,
    expected: list,
    read_kind: pl.DataType,
    tmp_path: Path,
) -> None:
    path = tmp_path / "r.parquet"
    pl.DataFrame({name: pl.Series(values, dtype=kind)}).write_parquet(path)
    table = read_parquet(path, DEFAULT_COLUMNS, (*RATING_FIELDS, *MOVIE_FIELDS[1:]), set())
    assert table.to_series().equals(pl.Series(expected, dtype=read_kind), check_dtypes=True)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("genres", [[{"id": 1}]], "column 'genres' has structs without a name; write it"),
        ("genres", [TIME], "column 'genres' has the type Datetime.*; write text or numbers"),
        ("year", [[1999]], r"column 'year' has the type List\(Int64\); write text or numbers"),
        ("title", [b"\xff"], "column 'title' is not text; write text"),
        ("rating", [TIME], "column 'rating' has the type Datetime.*; write text or numbers"),
    ],
)
def test_what_is_neither_text_nor_numbers_is_refused(
    name: str, values: list, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "r.parquet"
    pl.DataFrame({name: values}).write_parquet(path)
    with pytest.raises(StageError, match=rf"^{path}: {message}$"):
        read_parquet(path, DEFAULT_COLUMNS, ("rating", *MOVIE_FIELDS), set())
