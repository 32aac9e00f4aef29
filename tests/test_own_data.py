"""Data of the user's own: other ids, scales, columns and files than MovieLens has."""

import json
import re
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from stages import clean
from stages.common.params import YAML
from stages.common.stage import StageError
from stages.common.tables import CATALOGUE, RANKS
from stages.evaluate import slices
from stages.genre_features import genre_columns
from stages.ids import numbering
from tests.conftest import ROOT, dvc, edit_params, ran, run, tiny_tables


class Cleaned(NamedTuple):
    """What the clean stage wrote."""

    ratings: pl.DataFrame
    catalogue: pl.DataFrame
    users: pl.DataFrame
    movies: pl.DataFrame
    figures: dict[str, float]

    def originals(self) -> list[tuple]:
        """The user's ids, the movie's and the rating of every row."""
        named = self.ratings.join(self.users, on="user_id", maintain_order="left").join(
            self.movies, on="movie_id", suffix="_movie", maintain_order="left"
        )
        return named.select("original", "original_movie", "rating").rows()


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for raw files, in a folder with the default params.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def run_clean(raw: Path, **changes: Any) -> Cleaned:
    edit_params(raw.parent, **changes)
    out = raw.parent / "out"
    paths = [out / "ratings.parquet", out / "catalogue.parquet", out / "ids", out / "data.json"]
    clean.main(raw, *paths)
    tables = [*paths[:2], out / "ids" / "users.parquet", out / "ids" / "movies.parquet"]
    return Cleaned(*map(pl.read_parquet, tables), json.loads(paths[3].read_text()))


def test_without_a_movies_file_the_catalogue_are_the_rated_ids(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,30,4,100\n2,7,3,200\n")
    made = run_clean(raw)
    assert made.catalogue.rows() == [(7, "movie 7", None, []), (30, "movie 30", None, [])]
    assert made.figures["movies_without_genres"] == 2
    # Numbers stay numbers, and say so themselves.
    assert made.users.rows() == [(1, "1"), (2, "2")]
    assert made.movies.rows() == [(7, "7"), (30, "30")]


def test_a_movies_file_may_be_without_genres_titles_and_years(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,30,4,100\n")
    (raw / "movies.csv").write_text("movieId,title\n30,A (1995)\n31,B\n")
    assert run_clean(raw).catalogue.rows() == [(30, "A (1995)", 1995, []), (31, "B", None, [])]
    (raw / "movies.csv").write_text("movieId,year,title\n30,1995,A\n31,2001,B (2000)\n")
    rows = run_clean(raw).catalogue.rows()
    assert rows == [(30, "A (1995)", 1995, []), (31, "B (2000)", 2000, [])]
    (raw / "movies.csv").write_text("movieId,genres\n30,Drama|Comedy\n")
    assert run_clean(raw).catalogue.rows() == [(30, "movie 30", None, ["Drama", "Comedy"])]


TEXT_IDS = "userId,movieId,rating,timestamp\nzoé,tt02,4,100\nzoé,tt10,3,200\n0b-1,tt02,5,50\n"


def test_text_ids_are_numbered_in_their_order_and_can_be_looked_up(raw: Path) -> None:
    (raw / "ratings.csv").write_text(TEXT_IDS)
    (raw / "movies.csv").write_text("movieId,title,genres\ntt10,Ten,Drama\ntt01,One,Drama\n")
    made = run_clean(raw)
    assert made.users.rows() == [(1, "0b-1"), (2, "zoé")]
    # tt01 has no rating and stands in the catalogue all the same; tt02 has no title but its id.
    assert made.movies.rows() == [(1, "tt01"), (2, "tt02"), (3, "tt10")]
    assert made.catalogue["title"].to_list() == ["One", "tt02", "Ten"]
    assert made.originals() == [("zoé", "tt02", 4), ("zoé", "tt10", 3), ("0b-1", "tt02", 5)]


def test_the_order_of_rows_does_not_change_the_numbers(raw: Path) -> None:
    (raw / "ratings.csv").write_text(TEXT_IDS)
    first = run_clean(raw)
    header, *rows = TEXT_IDS.splitlines()
    (raw / "ratings.csv").write_text("\n".join([header, *rows[::-1]]) + "\n")
    second = run_clean(raw)
    assert second.users.equals(first.users)
    assert second.movies.equals(first.movies)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "ids", [["0195153448", "034545104X"], ["76561197960265729", "5"], ["007", "7"], ["-1", "1"]]
)
def test_ids_that_are_no_plain_numbers_lose_nothing(raw: Path, ids: list[str], kind: str) -> None:
    table = pl.DataFrame({"userId": [1, 2], "movieId": ids, "rating": 4.0, "timestamp": 9})
    if kind == "csv":
        table.write_csv(raw / "ratings.csv")
    else:
        table.write_parquet(raw / "ratings.parquet")
    made = run_clean(raw)
    assert made.originals() == [("1", ids[0], 4), ("2", ids[1], 4)]
    assert sorted(made.movies["movie_id"]) == [1, 2]


def test_large_whole_numbers_of_a_parquet_file_are_numbered_too(raw: Path) -> None:
    table = {"user_id": [2**40, 5], "movie_id": [3.0, None], "rating": 4, "timestamp": 9}
    pl.DataFrame(table).write_parquet(raw / "ratings.parquet")
    made = run_clean(raw)
    assert made.originals() == [(str(2**40), "3", 4)]
    assert made.figures["dropped_incomplete"] == 1


def test_a_header_in_the_middle_does_not_make_numbers_text(raw: Path) -> None:
    header = "userId,movieId,rating,timestamp\n"
    (raw / "ratings.csv").write_text(f"{header}8,30,4,100\n{header}9,31,4,100\n")
    made = run_clean(raw)
    assert made.users["user_id"].to_list() == [8, 9]
    assert made.figures["dropped_incomplete"] == 1


def test_numbering_is_none_for_plain_numbers() -> None:
    none = pl.Series([], dtype=pl.String)
    assert numbering(pl.Series(["0", "2147483647", None]), none) is None
    assert numbering(pl.Series([5, 0], dtype=pl.Int64), none) is None
    assert numbering(pl.Series(["2147483648"]), none)["number"].to_list() == [1]


@pytest.mark.parametrize("name", ["interactions.csv", "log.inter", "interactions.parquet"])
def test_without_ratings_every_row_is_a_liking(raw: Path, name: str) -> None:
    table = pl.DataFrame({"user_id": [1, 1], "item_id": [5, 6], "timestamp": [100, 200]})
    if name.endswith(".parquet"):
        table.write_parquet(raw / name)
    else:
        table.write_csv(raw / name, separator="\t" if name.endswith(".inter") else ",")
    made = run_clean(raw, clean__rating_max=1.0)
    assert made.ratings["rating"].to_list() == [1.0, 1.0]


def test_ratings_called_by_another_name_are_not_taken_for_likings(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,stars,timestamp\n1,2,3,4\n")
    with pytest.raises(StageError, match=r"'rating' is missing .*; name the right one in data\."):
        run_clean(raw)
    assert run_clean(raw, data__columns__rating="stars").ratings["rating"].to_list() == [3]


BOOKS = {"user": "User-ID", "item": "ISBN", "rating": "Book-Rating", "timestamp": "Date"}
BOOKS |= {"title": "Book-Title", "year": "Year-Of-Publication", "genres": "Shelf"}
NAMED = {f"data__columns__{field}": name for field, name in BOOKS.items()}


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_columns_of_other_names_separators_and_scales(raw: Path, kind: str) -> None:
    ratings = {"Note": ["a,b", "c"], "ISBN": ["02X", "01"], "User-ID": [7, 8]}
    ratings |= {"Book-Rating": [10, 7], "Date": ["2005-04-02", "2005-04-03"]}
    books = {"ISBN": ["01", "02X"], "Book-Title": ["A, or B", "C"]}
    books |= {"Year-Of-Publication": [1999, 2000], "Shelf": ["Crime|War", None]}
    for name, table in (("ratings", pl.DataFrame(ratings)), ("items", pl.DataFrame(books))):
        path = raw / f"{name}.{kind}"
        if kind == "parquet":
            dates = [pl.col(c).str.to_date() for c in table.columns if c == "Date"]
            table.with_columns(dates).write_parquet(path)
        else:
            table.write_csv(path, separator="\t" if kind == "tsv" else ";")
    made = run_clean(raw, clean__rating_max=10.0, **NAMED)
    assert made.originals() == [("7", "02X", 10), ("8", "01", 7)]
    assert made.ratings["timestamp"].to_list() == [1112400000, 1112486400]
    assert made.catalogue.rows() == [
        (1, "A, or B (1999)", 1999, ["Crime", "War"]),
        (2, "C (2000)", 2000, []),
    ]


@pytest.mark.parametrize(
    ("field", "name", "message"),
    [
        ("user", "uid", r"ratings\.csv: column 'uid' is missing among userId, movieId"),
        ("title", "name", r"movies\.csv: column 'name' is missing .* in data\.columns\.title"),
        ("user", 5, r"data\.columns\.user: is 5; write a text"),
        ("colour", "red", r"data\.columns\.colour: unknown key; use one of user, item"),
    ],
)
def test_wrong_names_of_columns(raw: Path, field: str, name: object, message: str) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3,4\n")
    (raw / "movies.csv").write_text("movieId,title,genres\n2,A,Drama\n")
    with pytest.raises(StageError, match=message):
        run_clean(raw, **{f"data__columns__{field}": name})


def test_a_format_without_a_header_takes_no_names(raw: Path) -> None:
    (raw / "u.data").write_text("1\t2\t3\t4\n")
    with pytest.raises(StageError, match=r"data\.columns\.item: .*u\.data has no header; set it"):
        run_clean(raw, data__columns__item="isbn")


def test_two_files_for_one_thing_are_an_error(raw: Path) -> None:
    for name in ("ratings.csv", "interactions.parquet"):
        (raw / name).write_text("")
    with pytest.raises(StageError, match=r"holds ratings\.csv and interactions\.parquet; keep one"):
        run_clean(raw)


def test_a_movies_file_of_other_ids_is_an_error(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,tt2,3,4\n")
    (raw / "movies.csv").write_text("movieId,title,genres\n2,A,Drama\n")
    with pytest.raises(StageError, match=r"movies\.csv: has no rated movie; correct its ids"):
        run_clean(raw)


def test_without_any_genre_the_genre_table_has_a_row_of_zeros_for_each_movie() -> None:
    rows = [(1, "a", None, []), (2, "b", None, [])]
    table = genre_columns(pl.DataFrame(rows, schema=CATALOGUE, orient="row"))
    assert table.columns == ["movie_id", "genre_none"]
    assert table.drop("movie_id").to_numpy().tolist() == [[0], [0]]
    ranks = pl.DataFrame([(1, 1, 2, False, 5, 3)], schema=RANKS, orient="row")
    found = slices(ranks, table, [10])
    assert "genre" not in found["slice"].to_list()
    assert np.isclose(found.filter(pl.col("slice") == "target")["recall@10"].item(), 1)


def test_the_params_name_every_column_once() -> None:
    block = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["data"]["columns"]
    assert set(block) == {"user", "item", "rating", "timestamp", "title", "year", "genres"}
    assert set(block.values()) == {None}


def books(folder: Path) -> None:
    """Readers by UUID, books by ISBN, ten points, a semicolon, times as text; no books file."""
    ratings, _ = tiny_tables()
    readers = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(user))) for user in ratings["userId"]]
    table = ratings.select(
        pl.Series("reader", readers),
        pl.format("{}X", pl.col("movieId").cast(pl.String).str.zfill(9)).alias("ISBN"),
        (pl.col("rating") * 2).cast(pl.Int64).alias("points"),
        pl.from_epoch("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S").alias("day"),
    )
    table.write_csv(folder / "ratings.csv", separator=";")


def plays(folder: Path) -> None:
    """A log without ratings: whatever was played was liked."""
    ratings, _ = tiny_tables()
    liked = ratings.filter(pl.col("rating") >= 4)
    liked.select(
        pl.format("u_{}", "userId").alias("user_id"),
        pl.format("song:{}", "movieId").alias("item_id"),
        "timestamp",
    ).write_csv(folder / "interactions.csv")


BOOK_PARAMS = {
    "data__columns__user": "reader",
    "data__columns__item": "ISBN",
    "data__columns__rating": "points",
    "data__columns__timestamp": "day",
    "clean__rating_max": 10,
    "positives__min_rating": 8,
}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("write", "params"), [(books, BOOK_PARAMS), (plays, {})])
def test_other_data_go_through_the_whole_chain(
    repo: Path, tmp_path: Path, write: Callable[[Path], None], params: dict[str, Any]
) -> None:
    write(tmp_path)
    edit_params(repo, data__source=str(tmp_path), **params)
    dvc(repo, "repro")
    assert ran(dvc(repo, "repro")) == set()

    systems = json.loads((repo / "metrics" / "leaderboard.json").read_text())
    targets = pl.read_parquet(repo / "data" / "split" / "test.parquet")
    for name, figures in systems.items():
        assert figures["users"] == targets["user_id"].n_unique(), name
        assert all(0 <= v <= 1 for k, v in figures.items() if k != "users"), name
    # Readers keep to one kind of book, without a word about kinds in the data.
    for name in ("item_knn", "ranker_history"):
        assert systems[name]["ndcg@10"] > systems["popularity"]["ndcg@10"], name
    genres = pl.read_parquet(repo / "data" / "movies" / "genres.parquet")
    assert genres.columns == ["movie_id", "genre_none"]
    assert "genre" not in pl.read_csv(repo / "metrics" / "slices" / "genre.csv")["slice"].to_list()

    # The same split under the original ids: numbering loses and mixes nothing.
    folder = repo / "data" / "ids"
    users, movies = (pl.read_parquet(folder / f"{n}.parquet") for n in ("users", "movies"))
    raw = pl.read_csv(next(tmp_path.glob("*.csv")), separator=";" if params else ",")
    raw = raw.select(pl.nth(0).alias("original"), pl.nth(1).alias("movie"), pl.last().alias("time"))
    named = targets.join(users, on="user_id").join(movies, on="movie_id", suffix="_movie")
    assert named.height == targets.height
    newest = named.join(raw, left_on=["original", "original_movie"], right_on=["original", "movie"])
    assert newest.height == targets.height

    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/your-data.md").read_text(), re.S)
    done = run([sys.executable, "-c", snippet], repo)
    assert done.returncode == 0, done.stderr
    known = raw["movie"].unique().to_list()
    assert sum(f" {movie} " in done.stdout for movie in known) >= 5, done.stdout
    done = run([sys.executable, "-m", "stages.recommend", "--liked", known[0]], repo)
    assert done.returncode == 0, done.stderr
    assert f"For {known[0]}:" in done.stdout
    somebody = users["original"][0]
    done = run([sys.executable, "-m", "stages.recommend", "--user", somebody], repo)
    assert f"For user {somebody}:" in done.stdout, done.stderr
