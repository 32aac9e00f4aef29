import re
from pathlib import Path

import polars as pl
import pytest

from stages.clean import clean_catalogue, clean_ratings, statistics
from stages.common.stage import StageError
from tests.raw_folder import SCALE, run_clean


def raw_ratings(rows: list[tuple], time: type = pl.Int64) -> pl.DataFrame:
    """Raw ratings of user, movie, rating and time."""
    types = {"user_id": pl.Int64, "movie_id": pl.Int64, "rating": pl.Float64, "timestamp": time}
    return pl.DataFrame(rows, schema=types, orient="row")


def raw_movies(rows: list[tuple]) -> pl.DataFrame:
    """Raw movies of id, title, year and genres."""
    genres = pl.List(pl.String)
    types = {"movie_id": pl.Int64, "title": pl.String, "year": pl.Int16, "genres": genres}
    return pl.DataFrame(rows, schema=types, orient="row")


def test_nulls_and_exact_repeats_are_dropped_and_counted() -> None:
    rows = [(1, 2, 4.0, 10), (1, 2, 4.0, 10), (1, 2, 3.0, 10), (1, None, 3.0, 10)]
    table, dropped = clean_ratings(raw_ratings(rows), SCALE, "r")
    assert dropped == {"incomplete": 1, "repeated": 1}
    assert table["rating"].to_list() == [4.0, 3.0]
    assert table["row"].to_list() == [0, 2]


def test_text_times_are_utc_seconds() -> None:
    rows = [(1, 1, 3.5, "2005-04-02 23:53:47"), (1, 2, 3.5, "no time")]
    table, dropped = clean_ratings(raw_ratings(rows, pl.String), SCALE, "r")
    assert table["timestamp"].to_list() == [1112486027]
    assert dropped["incomplete"] == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1, 1, 5.5, 10), "r: data row 1 has a rating outside 0.5 to 5; correct it"),
        ((1, 1, -1.0, 10), "r: data row 1 has a rating outside 0.5 to 5; correct it"),
        ((1, 1, 5.0, -5), "r: data row 1 has a time before 1970"),
        ((1, 1, 5.0, 10**12), "r: data row 1 has a time before 1970 or after 2100"),
    ],
)
def test_values_out_of_range_are_errors_that_name_the_row(row: tuple, message: str) -> None:
    with pytest.raises(StageError, match=re.escape(message)):
        clean_ratings(raw_ratings([row]), SCALE, "r")


def test_no_ratings_is_an_error() -> None:
    with pytest.raises(StageError, match="r: has no ratings"):
        clean_ratings(raw_ratings([]), SCALE, "r")
    with pytest.raises(StageError, match="r: no row has both ids, a rating and a time"):
        clean_ratings(raw_ratings([(None, 1, 2.0, 3)]), SCALE, "r")


def test_a_rated_movie_without_a_row_is_kept() -> None:
    movies = raw_movies([(1, "A (1999)", 1999, ["Drama"])])
    table = clean_catalogue(movies, pl.Series([1, 7], dtype=pl.Int32))
    assert table["movie_id"].to_list() == [1, 7]
    assert table["title"].to_list() == ["A (1999)", "movie 7"]
    assert table["genres"].to_list() == [["Drama"], []]


def test_statistics_count_by_hand() -> None:
    rows = [(1, 1, 4.0, 1), (1, 2, 5.0, 2), (2, 1, 4.0, 3)]
    table, dropped = clean_ratings(raw_ratings(rows), SCALE, "r")
    catalogue = clean_catalogue(raw_movies([(9, "B", None, [])]), table["movie_id"])
    figures = statistics(table, catalogue, dropped)
    # 3 ratings of 2 users and 2 rated movies: 3 / 4.
    assert figures["density"] == 0.75
    assert (figures["users"], figures["movies"], figures["movies_rated"]) == (2, 3, 2)
    assert (figures["ratings_of_4"], figures["ratings_of_5"]) == (2, 1)


def test_without_a_movies_file_the_catalogue_is_the_rated_movies(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,30,4,100\n2,7,3,200\n")
    outputs = run_clean(raw)
    assert outputs.catalogue.rows() == [(7, "movie 7", None, []), (30, "movie 30", None, [])]
    assert outputs.figures["movies_without_genres"] == 2
    # Plain numbers are their own raw ids.
    assert outputs.users.rows() == [(1, "1"), (2, "2")]
    assert outputs.movies.rows() == [(7, "7"), (30, "30")]


def test_a_movies_file_with_other_ids_is_an_error(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,tt2,3,4\n")
    (raw / "movies.csv").write_text("movieId,title,genres\n2,A,Drama\n")
    with pytest.raises(StageError, match=r"movies\.csv: has no rated movie; correct its ids"):
        run_clean(raw)
