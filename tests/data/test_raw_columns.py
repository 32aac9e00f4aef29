"""Which columns of a file are read, by the headers that public data sets have."""

import re
from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data.raw_columns import (
    MOVIE_FIELDS,
    NAMES,
    RATING_FIELDS,
    find_columns,
    plain_name,
    refuse_names,
)
from tests.conftest import ROOT
from tests.raw_folder import DEFAULT_COLUMNS, run_clean

ROWS = "1,10,4,100\n2,10,3,200\n2,20,5,300\n"


def find(header: str, required: str = "user item rating timestamp", **names: str) -> dict[str, str]:
    columns = DEFAULT_COLUMNS.model_copy(update=names)
    return find_columns(header.split(","), columns, RATING_FIELDS, set(required.split()), Path("r"))


@pytest.mark.parametrize("user", ["userId", "user_id", "UserID", "User ID", "USER-ID", " userid:x"])
def test_case_blanks_and_dashes_make_no_other_name(user: str) -> None:
    assert find(f"{user},MOVIE id,Rating,Time Stamp") == {
        "user_id": user,
        "movie_id": "MOVIE id",
        "rating": "Rating",
        "timestamp": "Time Stamp",
    }


@pytest.mark.parametrize(
    ("header", "roles"),
    [
        ("User-ID,ISBN,Book-Rating,timestamp", "User-ID ISBN Book-Rating timestamp"),
        (
            "overall,verified,reviewTime,reviewerID,asin,style,reviewerName,reviewText,summary,"
            "unixReviewTime",
            "reviewerID asin overall unixReviewTime",
        ),
        ("user_id,parent_asin,rating,timestamp", "user_id parent_asin rating timestamp"),
        (
            "user_id,book_id,is_read,rating,is_reviewed,timestamp",
            "user_id book_id rating timestamp",
        ),
        ("userID,artistID,weight,timestamp", "userID artistID weight timestamp"),
        ("user-id,game-title,value,timestamp", "user-id game-title value timestamp"),
        ("user,item,rating,timestamp", "user item rating timestamp"),
        ("userId,Const,Your Rating,Date Rated", "userId Const Your_Rating Date_Rated"),
    ],
)
def test_headers_of_public_data_sets_are_read(header: str, roles: str) -> None:
    assert list(find(header).values()) == [role.replace("_R", " R") for role in roles.split()]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "user_id,asin,parent_asin,rating,timestamp",
            "has the columns 'asin' and 'parent_asin', and each may be the item; "
            "set data.columns.item to one of them",
        ),
        (
            "userid,timestamp,artid,artname,traid,traname,rating",
            "has the columns 'artid' and 'traid', and each may be the item; "
            "set data.columns.item to one of them",
        ),
        (
            "userId,user_id,USERID,movieId,rating,timestamp",
            "has the columns 'userId', 'user_id' and 'USERID', and each may be the user; "
            "set data.columns.user to one of them",
        ),
        (
            "user-id,game-title,behavior-name,value,timestamp",
            "the meaning of 'value' depends on 'behavior-name'; keep the rows of one kind and set "
            "data.columns.rating to value",
        ),
        (
            "userId,movieId,rating,rating_duplicated_0,timestamp",
            "has 2 columns 'rating'; rename the others",
        ),
    ],
)
def test_a_header_with_two_meanings_is_refused(header: str, message: str) -> None:
    with pytest.raises(StageError, match=rf"^r: {re.escape(message)}$"):
        find(header)


def test_the_name_of_data_columns_decides_between_two_meanings() -> None:
    header = "userId,userid,asin,parent_asin,behavior-name,value,timestamp"
    names = {"user": "userid", "item": "PARENT-ASIN", "rating": "value"}
    assert list(find(header, **names).values()) == ["userid", "parent_asin", "value", "timestamp"]
    assert find("a:b,item,timestamp", "item timestamp", user="a:b")["user_id"] == "a:b"
    header = "userid:token,user_id:token,USERID,item,rating,timestamp"
    assert find(header, user="user_id")["user_id"] == "user_id:token"


def test_all_missing_columns_are_named_at_once() -> None:
    message = (
        r"^r: has no columns 'userId', 'rating' and 'timestamp' among reader, ISBN, stars; set "
        r"data\.columns\.user, data\.columns\.rating and data\.columns\.timestamp to some of them$"
    )
    with pytest.raises(StageError, match=message):
        find("reader,ISBN,stars")
    with pytest.raises(StageError, match=r"^r: has no columns 'uid' and 'timestamp' among userId,"):
        find("userId,movieId,rating", user="uid")


@pytest.mark.parametrize(
    ("first_line", "value"),
    [
        ("A1YS9,B0001,5.0,1112486027", "5.0"),
        ("user_000001,2009-05-04T23:08:57Z,f1b1,Deep Dish,,Flashdance", "2009-05-04T23:08:57Z"),
    ],
)
def test_a_first_line_of_data_is_no_header(first_line: str, value: str) -> None:
    with pytest.raises(StageError, match=rf"^r: has {value!r} in its first line, which is no name"):
        find(first_line)


@pytest.mark.parametrize(
    ("header", "site"),
    [
        ("Date,Name,Year,Letterboxd URI,Rating", "Letterboxd"),
        ("Const,Your Rating,Date Rated,Title,Original Title,URL,Title Type,IMDb Rating", "IMDb"),
        ("Book Id,Title,Author,ISBN,ISBN13,My Rating,Average Rating,Date Read", "Goodreads"),
    ],
)
def test_the_export_of_one_person_is_refused(raw: Path, header: str, site: str) -> None:
    (raw / "ratings.csv").write_text(f"{header}\n" + "x," * header.count(",") + "x\n")
    message = (
        rf"ratings\.csv: is the {site} export of one person, and the pipeline needs the ratings of "
        r"many; for one person, run `python -m stages\.serving recommend --ratings`$"
    )
    with pytest.raises(StageError, match=message):
        run_clean(raw)


def test_a_column_that_is_set_to_nothing_is_not_read() -> None:
    assert "rating" not in find("user,item,rating,timestamp", "user item timestamp", rating="")
    with pytest.raises(StageError, match=r"^data\.columns\.user: is '', and r needs this column"):
        find("user,item,rating,timestamp", user="")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_ratings_file_may_have_the_columns_of_movies(raw: Path, kind: str) -> None:
    table = {
        "user_id": ["1", "2", "2", "3"],
        "ISBN": ["7X", " 7X", "8", "9"],
        "rating": ["5", "4", "4", "unreadable"],
        "timestamp": ["1", "2", "3", "4"],
        "Book-Title": [None, "Seven", "Eight (1999)", "Nine"],
        "Year-Of-Publication": ["1990", "1990", None, "2000"],
    }
    if kind == "csv":
        table["genre"] = ["Crime|War", "", "Crime", "Crime"]
        pl.DataFrame(table).write_csv(raw / "ratings.csv")
    else:
        table["genre"] = [["Crime", "War"], None, ["Crime"], ["Crime"]]
        pl.DataFrame(table).write_parquet(raw / "ratings.parquet")
    outputs = run_clean(raw, clean__max_dropped=0.5)
    assert outputs.catalogue.select("title", "year", "genres").rows() == [
        ("Seven (1990)", 1990, ["Crime", "War"]),
        ("Eight (1999)", 1999, ["Crime"]),
    ]
    assert outputs.movies["raw_id"].to_list() == ["7X", "8"]
    notices = " ".join(outputs.figures["notices"])
    assert "those of the movies: Book-Title, Year-Of-Publication, genre" in notices
    assert "no movies file" not in notices


def test_a_few_movies_with_several_titles_have_the_first_and_are_counted(raw: Path) -> None:
    head = "userId,movieId,rating,timestamp,title\n"
    (raw / "ratings.csv").write_text(head + "1,10,4,100,A\n2,10,3,200,B\n2,20,5,300,C\n")
    outputs = run_clean(raw, clean__max_dropped=0.5)
    assert outputs.catalogue["title"].to_list() == ["A", "C"]
    assert outputs.figures["dropped_movies_repeated"] == 1
    message = (
        r"ratings\.csv: movie 10 has the title 'A' and the title 'B', and 50\.0% of the movies "
        r"have several \(clean\.max_dropped: 0\.4\); set data\.columns\.title to '' if this "
    )
    with pytest.raises(StageError, match=message):
        run_clean(raw, clean__max_dropped=0.4)
    outputs = run_clean(raw, data__columns__title="")
    assert outputs.catalogue["title"].to_list() == ["movie 10", "movie 20"]
    assert any("no movies file" in sentence for sentence in outputs.figures["notices"])


def test_rows_without_a_movie_are_no_movie_with_several_titles(raw: Path) -> None:
    head = "userId,movieId,rating,timestamp,title\n"
    (raw / "ratings.csv").write_text(head + "1,10,4,100,A\n2,,3,200,B\n2,NA,5,300,C\n")
    outputs = run_clean(raw, clean__max_dropped=0.7, data__columns__title=None)
    assert outputs.figures["dropped_movies_repeated"] == 0
    (raw / "ratings.csv").write_text(head + "1,10,4,100,A\n" * 99 + "2,,3,200,B\n2,NA,5,300,C\n")
    assert run_clean(raw, clean__max_dropped=0.02).catalogue["title"].to_list() == ["A"]


def test_the_year_of_a_rating_is_no_year_of_a_movie(raw: Path) -> None:
    head = "userId,movieId,rating,timestamp,title,year\n"
    (raw / "ratings.csv").write_text(head + "1,10,4,100,A,2001\n2,10,3,200,A,2002\n")
    with pytest.raises(StageError, match=r"movie 10 has the year 2001 and the year 2002, and 100"):
        run_clean(raw)


def test_a_column_of_movies_in_both_files_is_not_read_twice_and_named(raw: Path) -> None:
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp,title\n1,10,4,100,Good!\n")
    (raw / "movies.csv").write_text("movieId,Title\n10,A\n")
    outputs = run_clean(raw)
    assert outputs.catalogue["title"].to_list() == ["A"]
    sentence = "these columns of ratings.csv are not read, as movies.csv has them: title"
    assert sentence in outputs.figures["notices"]
    (raw / "movies.csv").write_text("movieId,genres\n10,War\n")
    message = (
        r"ratings\.csv: has the column 'title', and movies\.csv has no title; move the column "
        r"there, or set data\.columns\.title to ''$"
    )
    with pytest.raises(StageError, match=message):
        run_clean(raw)
    assert run_clean(raw, data__columns__title="").catalogue["title"].to_list() == ["movie 10"]


def test_without_a_movies_file_a_named_title_must_be_in_the_ratings(raw: Path) -> None:
    (raw / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{ROWS}")
    with pytest.raises(StageError, match=r"ratings\.csv: has no column 'name' among userId, .*"):
        run_clean(raw, data__columns__title="name")


def test_the_page_lists_the_names_of_all_columns() -> None:
    text = (ROOT / "docs" / "your-data.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| ", text, re.MULTILINE)
    listed = {field: names.split(", ") for field, names in rows if field in NAMES}
    assert listed == {field: list(names) for field, (_, names) in NAMES.items()}


def test_a_name_stands_for_one_field() -> None:
    names = [plain_name(name) for _, names in NAMES.values() for name in names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("field", "name"), [(f, n) for f, (_, names) in NAMES.items() for n in names]
)
def test_every_usual_name_is_found(field: str, name: str) -> None:
    for column in (name, f"{name}:token_seq", f" {name} "):
        header = ["other", column]
        names = find_columns(header, DEFAULT_COLUMNS, (*MOVIE_FIELDS, "user"), set(), Path("r.csv"))
        assert names == ({NAMES[field][0]: column} if field in (*MOVIE_FIELDS, "user") else {})


@pytest.mark.parametrize(
    ("name", "required", "missing"),
    [(None, {"item"}, "movieId"), ("isbn", set(), "isbn"), ("isbn", {"item"}, "isbn")],
)
def test_a_required_or_named_column_must_exist(
    name: str | None, required: set[str], missing: str
) -> None:
    columns = DEFAULT_COLUMNS.model_copy(update={"item": name})
    message = f"r.csv: has no column '{missing}' among userId, a b; "
    message += "set data.columns.item to one of them"
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        find_columns(["userId", "a \n b"], columns, ("user", "item"), required, Path("r.csv"))
    assert find_columns(["userId"], columns, ("user",), {"item"}, Path("r.csv")) == {
        "user_id": "userId"
    }


def test_a_file_without_a_header_takes_no_name() -> None:
    refuse_names(Path("r.csv"), DEFAULT_COLUMNS)
    columns = DEFAULT_COLUMNS.model_copy(update={"year": "x"})
    with pytest.raises(StageError, match=r"^data\.columns\.year: r\.csv has no header; set it"):
        refuse_names(Path("r.csv"), columns)
