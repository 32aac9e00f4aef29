import re

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data.raw_times import FORMS
from stages.data.raw_values import count_unreadable, read_values, refuse_varied_movies

COLUMNS = ["user_id", "movie_id", "rating", "timestamp"]
ROW = ("u", "m", "4", "5")


def raw_table(*rows: tuple) -> pl.DataFrame:
    """Raw ratings in which all values are text."""
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def test_rows_that_can_be_read_keep_their_index() -> None:
    rows = [(" a", "x", " 3.5 ", " 7"), ("b", "y", "nan", "1"), (None, "y", "1", "1")]
    rows += [("a", "NULL", "1", "1"), ("c", " NA ", "1", "1"), ("d", "z", "-1e1", "8.5")]
    values, dropped = read_values(raw_table(*rows), 0.7, "r")
    assert dropped == 4
    assert list(values.schema.items()) == [
        *(("row", pl.UInt32), ("user_id", pl.String), ("movie_id", pl.String)),
        *(("rating", pl.Float64), ("timestamp", pl.Int64)),
    ]
    assert values.rows() == [(0, " a", "x", 3.5, 7), (5, "d", "z", -10, 8)]


def test_numbers_are_read_as_they_are() -> None:
    raw = pl.DataFrame(
        {"user_id": [3, None], "movie_id": [4, 5], "rating": [1, 2], "timestamp": [8.5, 9.0]}
    )
    values, dropped = read_values(raw, 0.5, "r")
    assert (dropped, values.rows()) == (1, [(0, 3, 4, 1.0, 8)])
    assert values.schema["user_id"] == pl.Int64


@pytest.mark.parametrize(
    ("column", "value", "what", "cure"),
    [
        (0, None, "no user id", "add the ids"),
        (1, "NaN", "the movie id 'NaN'", "add the ids"),
        (2, "four", "the rating 'four'", "write numbers"),
        (2, " -3,5 ", "the rating ' -3,5 '", "write a decimal point instead of the comma"),
        (2, "3,5,1", "the rating '3,5,1'", "write numbers"),
        (3, "1,5", "the time '1,5'", f"write {FORMS}"),
    ],
)
def test_the_first_value_that_cannot_be_read_is_named(
    column: int, value: str | None, what: str, cure: str
) -> None:
    bad = (*ROW[:column], value, *ROW[column + 1 :])
    message = (
        f"r: data row 3 has {what}, and 50.0% of the rows cannot be read (clean.max_dropped: "
        f"0.25); {cure}, or set clean.max_dropped higher"
    )
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        read_values(raw_table(ROW, ROW, bad, (None, "m", "x", "5")), 0.25, "r")


def test_the_share_of_the_limit_itself_may_be_dropped() -> None:
    raw = raw_table(ROW, ROW, ROW, (*ROW[:3], "late"))
    assert read_values(raw, 0.25, "r")[1] == 1
    with pytest.raises(StageError, match="data row 4 has the time 'late', and 25"):
        read_values(raw, 0.24, "r")
    assert read_values(raw_table(), 0.0, "r")[0].is_empty()


def test_a_table_of_which_no_row_can_be_read_has_no_higher_limit_to_set() -> None:
    raw = raw_table(("u", "m", "x", "5"))
    message = "r: data row 1 has the rating 'x', and 100.0% of the rows cannot be read "
    message += "(clean.max_dropped: 1); write numbers"
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        read_values(raw, 1.0, "r")


def test_a_table_without_ratings_is_counted_by_its_other_columns() -> None:
    raw = pl.DataFrame({"movie_id": ["a", None], "timestamp": ["x", "7"], "title": [None, None]})
    values = raw.with_columns(pl.col("timestamp").cast(pl.Int64, strict=False))
    assert count_unreadable(raw.head(1), raw.head(1), 0.0, "r") == 0
    with pytest.raises(StageError, match=r"^r: data row 1 has the time 'x', and 100\.0% of the"):
        count_unreadable(raw, values, 1.0, "r")


def test_the_first_movie_with_several_rows_is_named() -> None:
    rows = [(1, "A", None, []), (2, "B", 1999, []), (3, "C", 1999, []), (2, "B", 1999, ["War"])]
    movies = pl.DataFrame(
        [*rows, (1, "B", 2001, [])],
        schema={
            **{"movie_id": pl.Int64, "title": pl.String, "year": pl.Int16},
            "genres": pl.List(pl.String),
        },
        orient="row",
    )
    message = (
        "r: movie 1 has the year None and the year 2001, and 66.7% of the movies have several "
        "(clean.max_dropped: 0.5); set data.columns.year to '' if this column is not about movies"
    )
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        refuse_varied_movies(movies, 0.5, "r")
    refuse_varied_movies(movies, 2 / 3, "r")
    with pytest.raises(StageError, match=r"movie 2 has the genres .*, and 50\.0% of the movies"):
        refuse_varied_movies(movies[1:4], 0.4, "r")
    refuse_varied_movies(movies.clear(), 0.0, "r")
