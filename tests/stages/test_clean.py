import re
from pathlib import Path

import polars as pl
import pytest

from stages.clean import clean_catalogue, clean_ratings, drop_repeated
from stages.common.stage import StageError
from stages.data.data_figures import statistics
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
    assert dropped == {"incomplete": 1, "no_rating": 0}
    table, repeated = drop_repeated(table)
    assert repeated == 1
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
    with pytest.raises(StageError, match=r"r: data row 1 has no user id, and 100\.0% of the rows"):
        clean_ratings(raw_ratings([(None, 1, 2.0, 3)]), SCALE, "r")
    params = SCALE.model_copy(update={"no_rating": [2.0]})
    with pytest.raises(StageError, match=r"^clean\.no_rating: leaves no rating of r; name fewer"):
        clean_ratings(raw_ratings([(1, 1, 2.0, 3)]), params, "r")


def test_a_rated_movie_without_a_row_is_kept() -> None:
    movies = raw_movies([(1, "A (1999)", 1999, ["Drama"])])
    table, _ = clean_catalogue(movies, pl.Series([1, 7], dtype=pl.Int32))
    assert table["movie_id"].to_list() == [1, 7]
    assert table["title"].to_list() == ["A (1999)", "movie 7"]
    assert table["genres"].to_list() == [["Drama"], []]


def test_statistics_count_by_hand() -> None:
    rows = [(1, 1, 4.0, 1), (1, 2, 5.0, 2), (2, 1, 4.0, 3)]
    table, dropped = clean_ratings(raw_ratings(rows), SCALE, "r")
    table, _ = drop_repeated(table)
    genres = ["Drama", "War"]
    raw = raw_movies([(9, "B", None, genres), (9, "C", None, []), (None, "D", None, ["X"])])
    catalogue, dropped_movies = clean_catalogue(raw, table["movie_id"])
    figures = statistics(table, catalogue, dropped | dropped_movies)
    assert (figures["genres"], figures["movies_without_genres"]) == (2, 2)
    assert (figures["dropped_movies_incomplete"], figures["dropped_movies_repeated"]) == (1, 1)
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


@pytest.mark.parametrize(
    ("stars", "message"),
    [
        (
            [4, 9],
            "data row 2 has a rating outside 0.5 to 5; correct it or set clean.rating_min and",
        ),
        (
            [0, 4, 0, 9, 0],
            "data row 1 has a rating outside 0.5 to 5, as 4 of 5 rows have, most often 0 (3x), "
            "9 (1x); add 0 to clean.no_rating if it means 'no rating', or set clean.rating_min",
        ),
        ([0, 0, 99, 99, 4], "most often 0 (2x), 99 (2x); add 0 to clean.no_rating if it means"),
        ([9, 9, 9, 0, 6, 7], "most often 9 (3x), 0 (1x), 6 (1x); add 0 to clean.no_rating if it"),
        ([99, 99, 6, 4, 4, 4, 4], "most often 99 (2x), 6 (1x); add 99 to clean.no_rating if it"),
        ([99, 6, 4, 4, 4, 4], "most often 6 (1x), 99 (1x); set clean.rating_min and clean"),
        ([9, 9, 8, 4], "most often 9 (2x), 8 (1x); set clean.rating_min and clean.rating_max, up"),
        (
            [6, 7, 8, 7, 1200, 4],
            "data row 1 has a rating outside 0.5 to 5, as 5 of 6 rows have, most often 7 (2x), "
            "6 (1x), 8 (1x); set clean.rating_min and clean.rating_max, up to 1200 for counts",
        ),
    ],
)
def test_frequent_ratings_outside_the_scale_are_named(stars: list[int], message: str) -> None:
    rows = [(1, movie, float(rating), 10) for movie, rating in enumerate(stars)]
    with pytest.raises(StageError, match=re.escape(message)):
        clean_ratings(raw_ratings(rows), SCALE, "r")


def test_values_that_mean_no_rating_are_left_out_and_counted(raw: Path) -> None:
    lines = "1,30,0,100\n1,31,99,200\n1,32,4,300\nx,33,-1.0,300\n"
    (raw / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{lines}")
    outputs = run_clean(raw, clean__no_rating=[0, -1, 99])
    assert outputs.raw_rows() == [("1", "32", 4)]
    assert outputs.figures["dropped_no_rating"] == 3
    assert outputs.figures["dropped_incomplete"] == 0
    assert "3 rows with a value of clean.no_rating are dropped" in outputs.figures["notices"]
    assert not any("get new ids" in sentence for sentence in outputs.figures["notices"])


def test_the_share_of_unreadable_rows_is_limited(raw: Path) -> None:
    rows = [f"1,{movie},4,{1_000_000_000 + movie}\n" for movie in range(100)]
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(rows))
    assert run_clean(raw).figures["dropped_incomplete"] == 0
    rows[40] = "1,40,four,5\n"
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(rows))
    outputs = run_clean(raw)
    assert outputs.figures["dropped_incomplete"] == 1
    assert outputs.figures["notices"] == [
        "1 rows without a readable id, rating or time are dropped",
        "no movies file, so there are no titles and genres",
    ]
    message = (
        r"ratings\.csv: data row 41 has the rating 'four', and 1\.0% of the rows cannot be read "
        r"\(clean\.max_dropped: 0\.009\); write numbers, or set clean\.max_dropped higher$"
    )
    with pytest.raises(StageError, match=message):
        run_clean(raw, clean__max_dropped=0.009)


def test_counts_have_no_histogram(raw: Path) -> None:
    rows = "".join(f"1,{n},{n},{n}\n" for n in range(1, 60))
    (raw / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{rows}")
    figures = run_clean(raw, clean__rating_max=5000).figures
    assert (figures["ratings"], figures["rating_max"]) == (59, 59)
    assert not any(name.startswith("ratings_of") for name in figures)
