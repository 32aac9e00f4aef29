import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.common.stage import StageError
from tests.raw_folder import Outputs, run_clean

TIME = datetime.datetime(2005, 4, 2, 23, 53, 47)
SECONDS = 1112486027
COLUMNS = {"userId": pl.Series([1]), "movieId": pl.Series([2]), "rating": pl.Series([4.0])}


def clean_with(raw: Path, column: str, values: pl.Series) -> Outputs:
    """Clean one rating of which `column` has these values."""
    table = COLUMNS | {"timestamp": pl.Series([SECONDS]), column: values}
    pl.DataFrame(table).write_parquet(raw / "ratings.parquet")
    return run_clean(raw, clean__rating_min=0)


@pytest.mark.parametrize(
    "times",
    [
        *(pl.Series([TIME], dtype=pl.Datetime(unit)) for unit in ("ms", "us", "ns")),
        pl.Series([TIME]).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
        pl.Series([str(SECONDS)]),
        pl.Series(["2005-04-02T23:53:47Z"], dtype=pl.Categorical),
        pl.Series([b"2005-04-02T23:53:47Z"]),
        pl.Series([SECONDS], dtype=pl.UInt32),
        pl.Series([SECONDS]).cast(pl.Decimal(20, 2)),
        pl.Series([SECONDS + 0.5]),
    ],
    ids=lambda times: str(times.dtype),
)
def test_times_of_any_type_are_read(raw: Path, times: pl.Series) -> None:
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
    "genres",
    [
        pl.Series(["Drama, War"]),
        pl.Series([["Drama", "War"]]),
        pl.Series([["Drama ", "War"]], dtype=pl.Array(pl.String, 2)),
        pl.Series([[{"id": 1, "name": "Drama"}, {"id": 2, "name": "War"}]]),
    ],
    ids=lambda genres: str(genres.dtype),
)
@pytest.mark.parametrize("year", [1999, 1999.0, "1999", datetime.date(1999, 4, 2)])
def test_genres_and_years_of_any_type_are_read(raw: Path, genres: pl.Series, year: Any) -> None:
    table = {"movieId": [2], "title": ["A"], "year": [year], "genres": genres}
    pl.DataFrame(table).write_parquet(raw / "movies.parquet")
    outputs = clean_with(raw, "rating", pl.Series([4]))
    assert outputs.catalogue.rows() == [(2, "A (1999)", 1999, ["Drama", "War"])]
