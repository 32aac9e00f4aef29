import re
from pathlib import Path

import polars as pl
import pytest

from stages.clean import Params, clean_catalogue, clean_ratings, number_ids, statistics
from stages.common.stage import StageError
from stages.raw_formats import find_files, raw_files
from stages.raw_readers import Columns, read_movies, read_ratings

USUAL = Columns(*[None] * 7)
SCALE = Params(rating_min=0.5, rating_max=5.0)


def raw(rows: list[tuple], time: type = pl.Int64) -> pl.DataFrame:
    types = {"user_id": pl.Int64, "movie_id": pl.Int64, "rating": pl.Float64, "timestamp": time}
    return pl.DataFrame(rows, schema=types, orient="row")


def test_nulls_and_exact_repeats_are_dropped_and_counted() -> None:
    table, dropped = clean_ratings(
        raw([(1, 2, 4.0, 10), (1, 2, 4.0, 10), (1, 2, 3.0, 10), (1, None, 3.0, 10)]), SCALE, "r"
    )
    assert dropped == {"incomplete": 1, "repeated": 1}
    assert table["rating"].to_list() == [4.0, 3.0]
    assert table["row"].to_list() == [0, 2]


def test_text_times_are_utc_seconds() -> None:
    rows = [(1, 1, 3.5, "2005-04-02 23:53:47"), (1, 2, 3.5, "no time")]
    table, dropped = clean_ratings(raw(rows, pl.String), SCALE, "r")
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
        clean_ratings(raw([row]), SCALE, "r")


def test_no_ratings_is_an_error() -> None:
    with pytest.raises(StageError, match="r: holds no ratings"):
        clean_ratings(raw([]), SCALE, "r")
    with pytest.raises(StageError, match="r: no row has an id, a rating and a time"):
        clean_ratings(raw([(None, 1, 2.0, 3)]), SCALE, "r")


def test_a_rated_movie_without_a_row_is_kept() -> None:
    known = pl.DataFrame(
        {"movie_id": [1], "title": ["A (1999)"], "year": [1999], "genres": [["Drama"]]},
        schema_overrides={"movie_id": pl.Int64, "year": pl.Int16},
    )
    table = clean_catalogue(known, pl.Series([1, 7], dtype=pl.Int32))
    assert table["movie_id"].to_list() == [1, 7]
    assert table["title"].to_list() == ["A (1999)", "movie 7"]
    assert table["genres"].to_list() == [["Drama"], []]


def test_statistics_count_by_hand() -> None:
    rows = [(1, 1, 4.0, 1), (1, 2, 5.0, 2), (2, 1, 4.0, 3)]
    table, dropped = clean_ratings(raw(rows), SCALE, "r")
    movies = clean_catalogue(
        pl.DataFrame({"movie_id": [9], "title": ["B"], "year": [None], "genres": [[]]}).cast(
            {"movie_id": pl.Int64, "year": pl.Int16, "genres": pl.List(pl.String)}
        ),
        table["movie_id"],
    )
    figures = statistics(table, movies, dropped)
    # 3 ratings of 2 users and 2 rated movies: 3 / 4.
    assert figures["density"] == 0.75
    assert (figures["users"], figures["movies"], figures["movies_rated"]) == (2, 3, 2)
    assert (figures["ratings_of_4"], figures["ratings_of_5"]) == (2, 1)


RATINGS = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,10,4.0,100\n2,20,3.5,200\n",
    "rating.csv": '"userId","movieId","rating","timestamp"\n1,10,4,"1970-01-01 00:01:40"\n'
    '2,20,3.5,"1970-01-01 00:03:20"\n',
    "ratings.dat": "1::10::4::100\n2::20::3.5::200\n",
    "u.data": "1\t10\t4\t100\n2\t20\t3.5\t200\n",
    "x.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "1\t10\t4\t100\n2\t20\t3.5\t200\n",
}
MOVIES_NAMES = {
    "ratings.csv": "movies.csv",
    "rating.csv": "movie.csv",
    "ratings.dat": "movies.dat",
    "u.data": "u.item",
    "x.inter": "x.item",
}
U_ITEM = "{}|{}|01-Jan-1995||http://x|{}\n"
MOVIES = {
    "ratings.csv": 'movieId,title,genres\n10,"Été, L\' (1995)",Comedy|Drama\n'
    "20,B,(no genres listed)\n",
    "rating.csv": 'movieId,title,genres\n10,"Été, L\' (1995)",Comedy|Drama\n'
    "20,B,(no genres listed)\n",
    "ratings.dat": "10::Été, L' (1995)::Comedy|Drama\n20::B::\n",
    "u.data": U_ITEM.format(10, "Été, L' (1995)", "|".join("0000010010000000000"))
    + U_ITEM.format(20, "B", "|".join("1000000000000000000")),
    "x.inter": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "10\tÉté, L'\t1995\tComedy Drama\n20\tB\t\tunknown\n",
}


def read(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """RATINGS and CATALOGUE of the files in `folder`."""
    files = find_files([p.name for p in folder.iterdir()], "f")
    raw = number_ids(read_ratings(folder, files, USUAL), read_movies(folder, files, USUAL))
    table, _ = clean_ratings(raw[0], SCALE, "r")
    return table, clean_catalogue(raw[1], table["movie_id"])


@pytest.mark.parametrize("ratings_name", RATINGS)
def test_every_text_format_gives_the_same_tables(ratings_name: str, tmp_path: Path) -> None:
    latin = ratings_name in ("ratings.dat", "u.data")
    (tmp_path / ratings_name).write_text(RATINGS[ratings_name])
    text = MOVIES[ratings_name]
    path = tmp_path / MOVIES_NAMES[ratings_name]
    path.write_text(text, encoding="latin-1" if latin else "utf-8")
    assert raw_files([ratings_name, path.name, "other.csv"], "f") == [ratings_name, path.name]
    table, movies = read(tmp_path)
    assert table.select("user_id", "movie_id", "rating", "timestamp").rows() == [
        (1, 10, 4.0, 100),
        (2, 20, 3.5, 200),
    ]
    assert movies.rows() == [(10, "Été, L' (1995)", 1995, ["Comedy", "Drama"]), (20, "B", None, [])]


def test_parquet_gives_the_same_tables(tmp_path: Path) -> None:
    pl.DataFrame(
        {"userId": [1], "movieId": [10], "rating": [4.0], "timestamp": [100]}
    ).write_parquet(tmp_path / "ratings.parquet")
    pl.DataFrame({"movieId": [10], "title": ["A (1995)"], "genres": ["Comedy"]}).write_parquet(
        tmp_path / "movies.parquet"
    )
    table, movies = read(tmp_path)
    assert table.row(0) == (1, 10, 4.0, 100, 0)
    assert movies.row(0) == (10, "A (1995)", 1995, ["Comedy"])


def test_a_folder_without_a_known_format_says_what_to_put_in() -> None:
    with pytest.raises(StageError, match=r"f: holds no ratings file of a known name; put in rat"):
        raw_files(["a.txt"], "f")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,timestamp\n1,1,1\n")
    with pytest.raises(StageError, match=r"ratings.csv: column 'rating' is missing among userId"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.dat", "x.inter"])
def test_an_empty_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(StageError, match=rf"{name}: is empty"):
        read(tmp_path)
