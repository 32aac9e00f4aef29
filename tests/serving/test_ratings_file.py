from pathlib import Path

import pytest

from stages.common.stage import StageError
from stages.serving.feedback import Feedback
from stages.serving.ratings_file import Matches, match_ratings
from stages.serving.title_search import TitleSearch
from tests.serving.catalogue import TITLES, search_of

LETTERBOXD = """Date,Name,Year,Letterboxd URI,Rating
2023-05-01,Toy Story,1995,https://boxd.it/a,5
2023-04-01,The Godfather,1972,https://boxd.it/b,4
2023-04-02,Oppenheimer,2023,https://boxd.it/c,4.5
2023-04-02,"Alien\u00b3",1992,https://boxd.it/d,3.5
2023-04-02,Heat,1996,https://boxd.it/e,0.5
"""
IMDB = """Const,Your Rating,Date Rated,Title,Original Title,URL,Title Type,IMDb Rating,Year
tt0110413,8,2024-02-01,The Professional,Léon,https://x,Movie,8.5,1994
tt0114746,7,2024-01-31,12 Monkeys,Twelve Monkeys,https://x,Movie,8.0,1995
tt0000050,10,2024-01-01,Something Else,Something Else,https://x,Movie,8.6,1977
"""


@pytest.fixture(scope="module")
def search() -> TitleSearch:
    return search_of(TITLES)


def match(search: TitleSearch, folder: Path, text: str | bytes) -> Matches:
    path = folder / "ratings.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return match_ratings(path, search)


def test_an_export_of_letterboxd_is_read_as_it_is(search: TitleSearch, tmp_path: Path) -> None:
    feedback, summary = match(search, tmp_path, LETTERBOXD)
    assert feedback == Feedback([127, 1], [665, 273], [])  # in the order of the dates
    assert summary == (
        f"{tmp_path}/ratings.csv: 4 of 5 rows match; 2 liked, with 4 of 5 or more; 2 rated low; "
        "1 match no movie, 1 of them because the catalogue ends in 1997: Oppenheimer (2023)"
    )


def test_an_export_of_imdb_is_read_as_it_is(search: TitleSearch, tmp_path: Path) -> None:
    feedback, summary = match(search, tmp_path, IMDB)
    assert feedback == Feedback([181], [7], [])
    assert "2 of 3 rows match; 1 liked, with 8 of 10 or more; 1 rated low; 1 match no" in summary
    feedback, _ = match(
        search_of(TITLES, "tt00000"), tmp_path, IMDB
    )  # ids win where the catalogue has them
    assert feedback == Feedback([50, 181], [7], [])


@pytest.mark.parametrize(
    ("text", "feedback"),
    [
        ("title,stars\nToy Story (1995),4\nm,3.5\nheat 1995,5\n", Feedback([1, 273], [656], [])),
        ("id;stars\n50;8\n1;7.5\n", Feedback([50], [1], [])),  # out of 10, as 8 is above 5
        ("id,score\n50,80\n1,79\n", Feedback([50], [1], [])),
        ("\ufeffMovie\tStars\r\nStar Wars\t5\r\n\t\r\n", Feedback([50], [], [])),
        ("title,id,stars\nHeat,1,5\nHeat,,5\n", Feedback([1, 273], [], [])),
        ("id,rating,timestamp\n50,5,900\n1,5,1000\n183,5,\n", Feedback([183, 50, 1], [], [])),
        ("title,stars\nheat,1\nheat,5\n", Feedback([273], [], [])),  # the newest counts
        ("title,stars\nheat,5\nheat,\nalien,\n", Feedback([273], [], [183])),
        ("title,stars\nsabrina,5\nSabrina (1954),2\n", Feedback([], [705], [274])),
        ("title,year,stars\nChasing Amy,1997,5\n", Feedback([], [], [246, 268])),
        ("title,stars\ntoy stroy,5\nM,4\n", Feedback([656], [], [])),  # no typing errors
        ("title,stars\n300,5\n", Feedback([74], [], [])),  # a title is no id
        ("Title,title ,stars\nHeat,Alien,5\n", Feedback([273], [], [])),  # the first column
        ("movie,film,stars\nHeat,Alien,5\n", Feedback([273], [], [])),
        ("userId,id,stars\n7,50,4\n7,1,1\n", Feedback([50], [1], [])),
        ("title,stars\nHeat,\nalien, \n", Feedback([], [], [273, 183])),
        ("Const,Your Rating\n50,5\n1,8\n", Feedback([1], [50], [])),  # out of 10
        ("id,stars\n50,100\n1,80\n183,79.5\n", Feedback([50, 1], [183], [])),
        ("id,stars\n50,10\n1,5\n", Feedback([50], [1], [])),
        ("id,stars\n50,5\n1,4\n183,3.9\n", Feedback([50, 1], [183], [])),
        ('id;title;stars\n50;"A, B, C, D, E, F, G";5\n', Feedback([50], [], [])),  # as the header
        ("title,original title,year,stars\nX,Sabrina,1954,5\n", Feedback([705], [], [])),
        ("title,stars\nheat 1995,5\nheat,1\n", Feedback([], [273], [])),
        ("title,release_year,stars\nSabrina,1954,5\nSabrina,1e99,5\n", Feedback([705], [], [274])),
    ],
)
def test_a_csv_of_titles_or_ids_is_read(
    search: TitleSearch, tmp_path: Path, text: str, feedback: Feedback
) -> None:
    assert match(search, tmp_path, text).feedback == feedback


def test_rows_that_are_no_opinion_are_counted_with_examples(
    search: TitleSearch, tmp_path: Path
) -> None:
    text = "title,stars\nsabrina,5\nalien,\nheat,4\nno,1\nnope,2\nnothing,3\n,4\n"
    summary = match(search, tmp_path, text).summary
    assert summary.startswith(f"{tmp_path}/ratings.csv: 3 of 7 rows match; 1 liked, ")
    assert summary.endswith(
        "; 4 match no movie: no, nope, nothing and 1 more; "
        "1 match several movies, which count as seen only: sabrina; "
        "1 match a movie but have no stars, and count as seen only: alien"
    )


def test_the_examples_are_the_first_ones_of_the_file(search: TitleSearch, tmp_path: Path) -> None:
    rows = ["x,Sabrina,5", "chasing amy,,5", "sabrina,,5", "Chasing Amy (1997),,5"]
    rows += [f"no {number},,5" for number in range(40)] + ["chasing amy,,"] * 6
    text = "\n".join(["title,original title,stars", *rows])
    assert match(search, tmp_path, text).summary.endswith(
        "; 40 match no movie: no 0, no 1, no 2 and 37 more; "
        "10 match several movies, which count as seen only: x, chasing amy, sabrina and 7 more"
    )


def test_movies_of_one_title_are_seen_in_the_order_of_their_ids(tmp_path: Path) -> None:
    twins = search_of(dict.fromkeys(range(9, 0, -1), "Twins (1988)"))
    assert match(twins, tmp_path, "title,stars\nTwins,5\n").feedback.seen == [*range(1, 10)]


def test_a_movie_of_the_newest_year_is_not_newer_than_the_catalogue(
    search: TitleSearch, tmp_path: Path
) -> None:
    summary = match(search, tmp_path, "title,year,stars\nHeat,1995,5\nNo,1997,5\n").summary
    assert summary.endswith("; 1 match no movie: No (1997)")


def test_a_row_without_a_title_is_named_by_its_id(search: TitleSearch, tmp_path: Path) -> None:
    summary = match(search, tmp_path, "id,title,stars\n9999,,5\n50,,5\n,,3\n").summary
    assert summary == (
        f"{tmp_path}/ratings.csv: 1 of 3 rows match; 1 liked, with 4 of 5 or more; 0 rated low; "
        "2 match no movie: 9999, a row without a title"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; write your ratings into it"),
        ("title,stars\n", "holds no rating; write ratings into it"),
        ("title,stars\n , \n", "holds no rating; write ratings into it"),
        ("title,x\nHeat,5\n", "has no column stars among title, x; give a csv with a column title"),
        ("x,stars\nHeat,5\n", "has no column title or id among x, stars; give a csv with"),
        ("title,stars\nHeat,good\n", 'has the stars "good"; write numbers'),
        ("title,stars\nHeat,0\n", 'has the stars "0"; give above 0 and up to 5'),
        ("title,stars\nHeat,nan\n", 'has the stars "nan"; give above 0 and up to '),
        ("title,stars\nHeat,inf\n", 'has the stars "inf"; give above 0 and up to 100'),
        ("Title,Your Rating\nHeat,11\n", 'has the stars "11"; give above 0 and up to 10'),
        ("title,stars,year\nHeat,5,x\n", 'has the year "x"; write numbers'),
        ("title,stars,date\nHeat,5,04/02/2005\n", 'has the date "04/02/2005"; write all as 2005-'),
        ("title,stars\nnothing,5\n", "matches no movie (nothing); give titles or ids of the cat"),
        ("title,stars\nHeat,5,6\n", "cannot be read ("),
        (b"PK\x03\x04", "is packed; unpack it, and give the ratings.csv in it"),
        (b"title,stars\nL\xe9on,5\n", "is not in UTF-8; save it as UTF-8"),
        (b"titl\xe9,stars\nHeat,5\n", "is not in UTF-8; save it as UTF-8"),
        ("userId,id,rating\n1,50,4\n2,50,4\n", "holds ratings of several users; keep those of one"),
    ],
)
def test_a_bad_file_is_one_line(
    search: TitleSearch, tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(StageError) as error:
        match(search, tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/ratings.csv: {message}")
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_file_is_one_line(search: TitleSearch, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"none.csv: not found; give a csv with a column title"):
        match_ratings(tmp_path / "none.csv", search)
