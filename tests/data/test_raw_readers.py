from pathlib import Path

import polars as pl
import pytest

from stages.common.params import YAML
from stages.common.stage import StageError
from stages.data.raw_formats import RawFiles, find_files, raw_file_names
from stages.data.raw_readers import (
    U_ITEM_GENRES,
    find_movie_columns,
    read_movies,
    read_ratings,
)
from tests.conftest import ROOT
from tests.raw_folder import DEFAULT_COLUMNS, clean_folder, run_clean

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


@pytest.mark.parametrize("ratings_name", RATINGS)
def test_every_text_format_gives_the_same_tables(ratings_name: str, tmp_path: Path) -> None:
    is_latin = ratings_name in ("ratings.dat", "u.data")
    (tmp_path / ratings_name).write_text(RATINGS[ratings_name])
    path = tmp_path / MOVIES_NAMES[ratings_name]
    path.write_text(MOVIES[ratings_name], encoding="latin-1" if is_latin else "utf-8")
    names = [ratings_name, path.name]
    assert raw_file_names([*names, "other.csv"], "f") == names
    ratings, catalogue, _ = clean_folder(tmp_path)
    assert ratings.select("user_id", "movie_id", "rating", "timestamp").rows() == [
        (1, 10, 4.0, 100),
        (2, 20, 3.5, 200),
    ]
    assert catalogue.rows() == [
        (10, "Été, L' (1995)", 1995, ["Comedy", "Drama"]),
        (20, "B", None, []),
    ]


def test_parquet_gives_the_same_tables(tmp_path: Path) -> None:
    pl.DataFrame(
        {"userId": [1], "movieId": [10], "rating": [4.0], "timestamp": [100]}
    ).write_parquet(tmp_path / "ratings.parquet")
    pl.DataFrame({"movieId": [10], "title": ["A (1995)"], "genres": ["Comedy"]}).write_parquet(
        tmp_path / "movies.parquet"
    )
    ratings, catalogue, _ = clean_folder(tmp_path)
    assert ratings.row(0) == (1, 10, 4.0, 100, 0)
    assert catalogue.row(0) == (10, "A (1995)", 1995, ["Comedy"])


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,timestamp\n1,1,1\n")
    with pytest.raises(StageError, match=r"ratings.csv: has no column 'rating' among userId"):
        clean_folder(tmp_path)


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.dat", "x.inter"])
def test_an_empty_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(StageError, match=rf"{name}: is empty"):
        clean_folder(tmp_path)


def test_a_movies_file_may_lack_genres_titles_and_years(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,30,4,100\n")
    (raw / "movies.csv").write_text("movieId,title\n30,A (1995)\n31,B\n")
    assert run_clean(raw).catalogue.rows() == [(30, "A (1995)", 1995, []), (31, "B", None, [])]
    (raw / "movies.csv").write_text("movieId,year,title\n30,1995,A\n31,2001,B (2000)\n")
    rows = run_clean(raw).catalogue.rows()
    assert rows == [(30, "A (1995)", 1995, []), (31, "B (2000)", 2000, [])]
    (raw / "movies.csv").write_text("movieId,genres\n30,Drama|Comedy\n")
    assert run_clean(raw).catalogue.rows() == [(30, "movie 30", None, ["Drama", "Comedy"])]


TITLE_YEARS = {
    "2001: A Space Odyssey (1968)": 1968,
    "(500) Days of Summer (2009)": 2009,
    "Two Versions (1990) (2005)": 2005,
    "Spaces (1994)  ": 1994,
    "Fact (1999) and Fiction": None,
    "Class of 1999": None,
    "Too Short (199)": None,
    "Too Long (19999)": None,
    "Open 1999)": None,
    "Other Digits (\u0661\u0669\u0669\u0669)": None,
}


def test_the_year_is_in_parentheses_at_the_end_of_the_title(raw: Path) -> None:
    lines = [f"{movie},{title}" for movie, title in enumerate(TITLE_YEARS)]
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,3,4,100\n")
    (raw / "movies.csv").write_text("\n".join(["movieId,title", *lines]) + "\n")
    catalogue = run_clean(raw).catalogue
    assert catalogue["year"].to_list() == list(TITLE_YEARS.values())
    assert catalogue["title"].to_list() == [title.strip() for title in TITLE_YEARS]


def test_a_column_of_years_is_used_where_it_is_a_year_and_the_title_has_none(raw: Path) -> None:
    years = ["1995", "1995.0", "19955", "ca. 1995", "995", "1995.5", "", "2001"]
    lines = [f"{movie},A,{year}" for movie, year in enumerate(years)]
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,3,4,100\n")
    (raw / "movies.csv").write_text(
        "\n".join(["movieId,title,year", *lines, "9,B (1980),1999"]) + "\n"
    )
    outputs = run_clean(raw)
    assert outputs.figures["notices"][-1] == "4 years cannot be read, such as '19955'"
    rows = outputs.catalogue.select("title", "year").rows()
    dated = ("A (1995)", 1995)
    assert rows[:2] == [dated] * 2
    assert rows[2:7] == [("A", None)] * 5
    assert rows[7:] == [("A (2001)", 2001), ("B (1980)", 1980)]


@pytest.mark.parametrize("years", ["1999-2003", "1999\u20132003", "1999 - 2003", "1999-", " 1999"])
def test_a_series_has_the_year_that_it_began_in(raw: Path, years: str) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,3,4,700000000\n")
    (raw / "movies.csv").write_text(f"movieId,title,year\n3,A,{years}\n4,B,0\n5,C,0000\n")
    outputs = run_clean(raw)
    assert outputs.catalogue["year"].to_list() == [1999, None, None]
    assert not outputs.figures["notices"]


def test_rated_movies_that_the_movies_file_lacks_are_said(raw: Path) -> None:
    (raw / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,3,4,100\n1,4,4,101\n1,5,4,102\n"
    )
    (raw / "movies.csv").write_text("movieId,title,genres\n3,A (1999),War\nx,B,War\n9,C,War\n")
    outputs = run_clean(raw, clean__max_dropped=0.5)
    assert outputs.catalogue["movie_id"].to_list() == [3, 4, 5, 9]
    assert outputs.figures["notices"][-1] == (
        "2 rated movies are not in movies.csv, so they have no title and no genres"
    )


@pytest.mark.parametrize("name", ["interactions.csv", "log.inter", "interactions.parquet"])
def test_without_ratings_every_row_is_a_positive(raw: Path, name: str) -> None:
    table = pl.DataFrame({"user_id": [1, 1], "item_id": [5, 6], "timestamp": [100, 200]})
    if name.endswith(".parquet"):
        table.write_parquet(raw / name)
    else:
        table.write_csv(raw / name, separator="\t" if name.endswith(".inter") else ",")
    outputs = run_clean(raw, clean__rating_max=1.0)
    assert outputs.ratings["rating"].to_list() == [1.0, 1.0]


def test_ratings_under_another_name_do_not_become_positives(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,stars,timestamp\n1,2,3,4\n")
    message = r"has no column 'rating' among .*stars.*; set data\.columns\.rating to one of them"
    with pytest.raises(StageError, match=message):
        run_clean(raw)
    assert run_clean(raw, data__columns__rating="stars").ratings["rating"].to_list() == [3]


BOOK_COLUMNS = {"user": "User-ID", "item": "ISBN", "rating": "Book-Rating", "timestamp": "Date"}
BOOK_COLUMNS |= {"title": "Book-Title", "year": "Year-Of-Publication", "genres": "Shelf"}
BOOK_PARAMS = {f"data__columns__{field}": name for field, name in BOOK_COLUMNS.items()}


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
    outputs = run_clean(raw, clean__rating_max=10.0, **BOOK_PARAMS)
    assert outputs.raw_rows() == [("7", "02X", 10), ("8", "01", 7)]
    assert outputs.ratings["timestamp"].to_list() == [1112400000, 1112486400]
    assert outputs.catalogue.rows() == [
        (1, "A, or B (1999)", 1999, ["Crime", "War"]),
        (2, "C (2000)", 2000, []),
    ]


@pytest.mark.parametrize(
    ("field", "name", "message"),
    [
        ("user", "uid", r"ratings\.csv: has no column 'uid' among userId, movieId"),
        ("title", "name", r"movies\.csv: has no column 'name' among .*; set data\.columns\.title"),
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


def test_the_params_name_every_column_once() -> None:
    block = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["data"]["columns"]
    assert set(block) == {"user", "item", "rating", "timestamp", "title", "year", "genres"}
    assert set(block.values()) == {None}


@pytest.mark.parametrize("title", ["A", "A :: B", "::A", "A|B", "|"])
def test_a_title_may_contain_the_separator(title: str, raw: Path) -> None:
    (raw / "ratings.dat").write_text("1::10::4::100\n")
    (raw / "movies.dat").write_text(f"10::{title}::Drama|War\n")
    assert run_clean(raw).catalogue.rows() == [(10, title, None, ["Drama", "War"])]
    (raw / "ratings.dat").unlink()
    (raw / "movies.dat").unlink()
    (raw / "u.data").write_text("1\t10\t4\t100\n")
    (raw / "u.item").write_text(U_ITEM.format(10, title, "|".join("0000010010000000000")))
    assert run_clean(raw).catalogue.rows() == [(10, title, None, ["Comedy", "Drama"])]


def test_markers_of_missing_values_are_missing_in_any_column(raw: Path) -> None:
    (raw / "ratings.tsv").write_text("userId\tmovieId\trating\ttimestamp\n1\ttt2\t4\t100\n")
    (raw / "movies.tsv").write_text("movieId\ttitle\tyear\tgenres\ntt2\t\\N\t\\N\tNULL\n")
    assert run_clean(raw).catalogue.rows() == [(1, "tt2", None, [])]


def test_titles_and_reviews_may_span_lines(raw: Path) -> None:
    text = 'user_id,item_id,rating,text,timestamp\nA1,B1,5,"Great.\nOf, course",1000\n'
    (raw / "ratings.csv").write_text(text)
    (raw / "items.csv").write_text('item_id,title\nB1,"One\r\n two (1999)"\n')
    outputs = run_clean(raw)
    assert outputs.raw_rows() == [("A1", "B1", 5)]
    assert outputs.catalogue["title"].to_list() == ["One two (1999)"]


def raw_tables(folder: Path, texts: dict[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables of a folder of text files, as they are before `clean`."""
    for name, text in texts.items():
        (folder / name).write_text(text)
    files = find_files(texts, "f")
    return tuple(read(folder, files, DEFAULT_COLUMNS) for read in (read_ratings, read_movies))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ratings.dat", "01::a::4::5\n::b::::6\n"),
        ("u.data", "01\ta\t4\t5\n\tb\t\t6\n"),
        ("x.inter", "user_id:token\titem_id\trating\tx\ttimestamp\n01\ta\t4\t0\t5\n\tb\t\t0\t6\n"),
        ("ratings.csv", 'timestamp,rating,userId,"itemId"\n5,4,01,a\n6,,,b\n'),
    ],
)
def test_raw_ratings_are_text_with_null_for_empty_fields(
    name: str, text: str, tmp_path: Path
) -> None:
    ratings, movies = raw_tables(tmp_path, {name: text})
    assert list(ratings.schema) == ["user_id", "movie_id", "rating", "timestamp"]
    assert set(ratings.dtypes) == {pl.String}
    assert ratings.rows() == [("01", "a", "4", "5"), (None, "b", None, "6")]
    assert movies.is_empty()
    assert list(movies.schema.items()) == [
        *(("movie_id", pl.String), ("title", pl.String), ("year", pl.Int16)),
        *(("genres", pl.List(pl.String)), ("unread_year", pl.String)),
    ]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("ratings.dat", ["1::2::3::4", "1::2::3"]),
        ("ratings.dat", ["1::2::3::4", "1::2::3:4"]),
        ("u.data", ["1\t2\t3\t4", "1\t2\t3"]),
    ],
)
def test_a_file_without_a_header_has_four_fields(
    name: str, rows: list[str], tmp_path: Path
) -> None:
    ratings, _ = raw_tables(tmp_path, {name: rows[0] + "\n"})
    assert ratings.rows() == [("1", "2", "3", "4")]
    message = rf"^{tmp_path / name}: has a row with fewer than 4 fields; download it again$"
    with pytest.raises(StageError, match=message):
        raw_tables(tmp_path, {name: rows[1] + "\n"})


def test_quotes_in_files_of_fixed_names_are_characters(tmp_path: Path) -> None:
    for name, separator in (("ratings.dat", "::"), ("u.data", "\t")):
        folder = tmp_path / name
        folder.mkdir()
        text = "".join(separator.join(row) + "\n" for row in ('"1abc', 'x"yz'))
        ratings, _ = raw_tables(folder, {name: text})
        assert ratings.rows() == [('"', "1", "a", "b"), ("x", '"', "y", "z")]
    items = 'item_id:token\tmovie_title\tclass\n1\t"A" is\tWar "X\n2\t"B\tWar\n3\t"C\n'
    inter = "user_id\titem_id\ttimestamp\n"
    _, movies = raw_tables(tmp_path, {"x.inter": inter, "x.item": items})
    assert movies["title"].to_list() == ['"A" is', '"B', '"C']
    assert movies["genres"].to_list() == [["War", '"X'], ["War"], []]


def test_ratings_may_lack_only_in_files_of_interactions(tmp_path: Path) -> None:
    header = "userId,movieId,timestamp\n1,2,3\n"
    ratings, _ = raw_tables(tmp_path, {"interactions.csv": header})
    assert ratings.rows(named=True) == [{"user_id": "1", "movie_id": "2", "timestamp": "3"}]
    for name in ("ratings.csv", "rating.tsv"):
        with pytest.raises(StageError, match=f"{name}: has no column 'rating' among userId, mo"):
            raw_tables(tmp_path, {name: header})
    for field, column in (("user", "userId"), ("item", "movieId"), ("timestamp", "timestamp")):
        text = header.replace(column, "x")
        with pytest.raises(StageError, match=f"has no column '{column}' .*columns.{field} to"):
            raw_tables(tmp_path, {"interactions.csv": text})
        table = pl.DataFrame({"userId": [1], "movieId": [2], "timestamp": [3]}).drop(column)
        table.write_parquet(tmp_path / "interactions.parquet")
        files = RawFiles("table", "interactions.parquet", "")
        with pytest.raises(StageError, match=f"has no column '{column}' .*columns.{field} to"):
            read_ratings(tmp_path, files, DEFAULT_COLUMNS)


def test_movies_need_an_id(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n"
    with pytest.raises(StageError, match=r"movies\.csv: has no column 'movieId' among title; set"):
        raw_tables(tmp_path, {"ratings.csv": ratings, "movies.csv": "title\nA\n"})
    pl.DataFrame({"title": ["A"]}).write_parquet(tmp_path / "movies.parquet")
    files = RawFiles("table", "ratings.csv", "movies.parquet")
    with pytest.raises(StageError, match=r"movies\.parquet: has no column 'movieId' among title"):
        read_movies(tmp_path, files, DEFAULT_COLUMNS)
    (tmp_path / "ratings.csv").write_text("userId,title\n1,A\n")
    with pytest.raises(StageError, match=r"ratings\.csv: has no column 'movieId' among userId, t"):
        read_movies(tmp_path, RawFiles("table", "ratings.csv", ""), DEFAULT_COLUMNS)


@pytest.mark.parametrize(
    ("name", "other", "row"), [("movies.dat", "ratings.dat", "1::A::"), ("u.item", "u.data", "")]
)
def test_movies_without_a_header_take_no_names_and_need_all_fields(
    name: str, other: str, row: str, tmp_path: Path
) -> None:
    files = RawFiles("dat" if name == "movies.dat" else "ml-100k", other, name)
    (tmp_path / name).write_text(row or U_ITEM.format(1, "A", "|".join("1" * 19)))
    genres = [] if row else U_ITEM_GENRES[1:]
    assert read_movies(tmp_path, files, DEFAULT_COLUMNS).rows() == [("1", "A", None, genres, None)]
    columns = DEFAULT_COLUMNS.model_copy(update={"title": "x"})
    with pytest.raises(StageError, match=rf"^data\.columns\.title: {tmp_path / name} has no head"):
        read_movies(tmp_path, files, columns)
    (tmp_path / name).write_text("1::A\n" if row else U_ITEM.format(1, "A", "|".join("1" * 18)))
    fields = 3 if row else 24
    with pytest.raises(StageError, match=rf"{name}: has a line with fewer than {fields} fields; d"):
        read_movies(tmp_path, files, DEFAULT_COLUMNS)


def test_a_record_within_the_quotes_of_a_title_is_refused(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n"
    lines = 'title,movieId,genres\n"A\nB,2,C\n",1,D\n'
    with pytest.raises(StageError, match=r"movies\.csv: line 2 opens a quote that other records f"):
        raw_tables(tmp_path, {"ratings.csv": ratings, "movies.csv": lines})
    _, movies = raw_tables(
        tmp_path, {"ratings.csv": ratings, "movies.csv": lines.replace("2,C", "x,C")}
    )
    assert movies["title"].to_list() == ["A B,x,C"]
    # The id tells a movie from a line of text; a rating has all four fields.
    rows = 'note,userId,movieId,rating,timestamp\n"A\nB,2,2,3,x\n",1,1,3,4\n'
    ratings, _ = raw_tables(tmp_path, {"ratings.csv": rows})
    assert ratings.rows() == [("1", "1", "3", "4")]
    with pytest.raises(StageError, match=r"ratings\.csv: line 2 opens a quote that other recor"):
        raw_tables(tmp_path, {"ratings.csv": rows.replace("3,x", "3,8")})


def test_titles_get_the_year_of_their_column(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n"
    rows = [" A ,1999", "B,2001-05-06T00:00", "C,2001-05", ",1999", "\\N,\\N", "D (2000) ,19"]
    rows += ["E,2001.00", "F (99999),1998", '"G \n\n H",NULL']
    lines = "".join(f"{n},{row}\n" for n, row in enumerate(rows))
    texts = {"ratings.csv": ratings, "movies.csv": f"movieId,title,year\n{lines}"}
    _, movies = raw_tables(tmp_path, texts)
    assert movies.select("title", "year").rows() == [
        *(("A (1999)", 1999), ("B (2001)", 2001), ("C", None), (None, 1999), (None, None)),
        *(("D (2000)", 2000), ("E", None), ("F (99999) (1998)", 1998), ("G H", None)),
    ]


def test_movies_of_a_ratings_file_have_their_first_values_in_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    movies = range(100, 0, -1)
    years = [None, 1990, 1980]
    rows = [
        f"1,{movie},4,5,{'' if year is None else year + movie % 7}\n"
        for year in years
        for movie in movies
    ]
    text = "userId,movieId,rating,timestamp,year\n" + "".join(rows) + "1,,4,5,1990\n"
    _, table = raw_tables(tmp_path, {"ratings.csv": text})
    assert table.select("movie_id", "year").rows() == [
        (str(movie), year + movie % 7) for year in years[1:] for movie in movies
    ]


def test_the_columns_of_movies_in_a_ratings_file_are_found(tmp_path: Path) -> None:
    def found(ratings: str, movies: str = "") -> dict[str, str]:
        (tmp_path / "ratings.csv").write_text(f"userId,movieId,rating,timestamp{ratings}\n")
        (tmp_path / "movies.csv").write_text(f"movieId{movies}\n")
        files = RawFiles("table", "ratings.csv", "movies.csv" if movies else "")
        return find_movie_columns(tmp_path, files, DEFAULT_COLUMNS)

    assert found("") == {}
    assert found(",Year,genre,x") == {"year": "Year", "genres": "genre"}
    assert found(",Year,genre,x", ",genres,title,year") == {"year": "Year", "genres": "genre"}
    two_titles = ",title,movie_title"
    for ratings, movies, name in (
        (two_titles, "", "ratings"),
        (two_titles, ",title", "ratings"),
        (",title", two_titles, "movies"),
    ):
        message = f"^{tmp_path}/{name}.csv: has the columns 'title' and 'movie_title', and each may"
        with pytest.raises(StageError, match=message):
            found(ratings, movies)
    # A user may have any name.
    for kind, name, separator in (("dat", "ratings.dat", "::"), ("ml-100k", "u.data", "\t")):
        (tmp_path / name).write_text(separator.join(["title", "2", "3", "4"]) + "\n")
        assert find_movie_columns(tmp_path, RawFiles(kind, name, ""), DEFAULT_COLUMNS) == {}


def test_titles_and_years_of_parquet_may_be_numbers(tmp_path: Path) -> None:
    table = {"movieId": [1, 2, 3], "title": [1984, 300, None], "year": [1956, None, 1999]}
    pl.DataFrame(table).write_parquet(tmp_path / "movies.parquet")
    files = RawFiles("table", "ratings.csv", "movies.parquet")
    assert read_movies(tmp_path, files, DEFAULT_COLUMNS).rows() == [
        *((1, "1984 (1956)", 1956, [], None), (2, "300", None, [], None)),
        (3, None, 1999, [], None),
    ]
