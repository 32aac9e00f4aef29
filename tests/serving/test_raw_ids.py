from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.serving.raw_ids import find_movie, find_users, read_raw_ids, with_raw_ids
from stages.serving.recommender import Recommender


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("u.csv", "user,x\n1,2\n", "u.csv: has no column user_id; rename the column of the ids"),
        ("u.csv", "user_id\n", "u.csv: holds no user; write users into it"),
        ("u.csv", "user_id,user_id\n1,2\n", "u.csv: has 2 columns user_id; rename the others"),
        ("u.csv", "x,user_id\na,1\nb,\n", "u.csv: has a row without user_id; write it, or delete"),
        ("u.csv", "user_id\n1,2\n", r"u.csv: cannot be read \(.*\); give csv or txt"),
        ("u.txt", "", "u.txt: is empty"),
        ("u.txt", " \n", "u.txt: holds no user; write users into it"),
        (
            "u.txt",
            "1,2\n3\n",
            "u.txt: line 1 has several ids, '1,2'; write one id a line, or a csv",
        ),
        ("u.txt", "3\n\n1, 2\n", "u.txt: line 3 has several ids, '1, 2'; write one id a line"),
        ("u.txt", "1,\n", "u.txt: line 1 has several ids"),
        ("u.txt", b"\xe9\n", r"u.txt: cannot be read \(.*\); give csv or txt"),
    ],
)
def test_bad_files_of_users_are_named(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StageError, match=message):
        read_raw_ids(tmp_path / name)
    with pytest.raises(StageError, match=r"none.txt: not found"):
        read_raw_ids(tmp_path / "none.txt")


def test_files_of_users_are_read(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text('name,user_id\n"a, b",7\nc, 3\n')
    assert read_raw_ids(tmp_path / "u.csv").to_list() == ["7", "3"]
    (tmp_path / "u.txt").write_text("7\n\n 3 \n7\n")
    assert read_raw_ids(tmp_path / "u.txt").to_list() == ["7", "3", "7"]
    (tmp_path / "u.txt").write_bytes(b"\xef\xbb\xbf7\r\nno. 3\r\n")
    assert read_raw_ids(tmp_path / "u.txt").to_list() == ["7", "no. 3"]


def test_a_movie_is_found_by_its_id_its_title_or_a_part_of_it(recommender: Recommender) -> None:
    def find(text: str) -> int:
        return find_movie(text, recommender.catalogue, recommender.movie_ids)

    assert find("7") == 7
    assert find("film, no. 3 (1982)") == 3
    assert find("No. 40 ") == 40
    with pytest.raises(StageError, match="fits 40 movies"):
        find("film")
    with pytest.raises(StageError, match="no such movie; did you mean"):
        find("Flim, No. 3 (1982)")


def test_ids_are_those_of_the_raw_data(recommender: Recommender) -> None:
    # The raw id "7" is mapped to 2; movie 7 has another raw id.
    movie_ids = pl.DataFrame({"movie_id": [2, 7], "raw_id": ["7", "tt07"]})
    assert find_movie("7", recommender.catalogue, movie_ids) == 2
    assert find_movie("tt07", recommender.catalogue, movie_ids) == 7
    user_ids = pl.DataFrame({"user_id": [1, 2], "raw_id": ["b-1", "a"]})
    assert find_users(pl.Series(["a", "b-1", "a"]), user_ids).tolist() == [2, 1, 2]
    with pytest.raises(StageError, match=r"user 1, z: not in the data; give others, or --liked"):
        find_users(pl.Series(["a", "1", "z"]), user_ids)
    with pytest.raises(StageError, match=r"^user 'a\\nb', 'c\\x1b': not in the data"):
        find_users(pl.Series(["a\nb", "c\x1b"]), user_ids)


def test_a_text_that_fits_several_movies_gets_the_ids_to_choose_from() -> None:
    titles = {1: "300", 300: "Twins", 7: "Twins", 8: "id:9", 9: "Candid:9", 10: "Other"}
    ids = pl.Series(titles.keys(), dtype=pl.Int32)
    catalogue = pl.DataFrame({"movie_id": ids, "title": titles.values()}).sort("movie_id")
    movie_ids = catalogue.select("movie_id", raw_id=pl.col("movie_id").cast(pl.String))

    def fits(text: str, choices: str) -> None:
        with pytest.raises(StageError) as error:
            find_movie(text, catalogue, movie_ids)
        assert str(error.value) == f"--liked {text!r}: fits 2 movies; give one of {choices}"

    fits("twins", "id:7 (Twins), id:300 (Twins)")
    fits("300", "id:1 (300), id:300 (Twins)")  # a title, and the id of another movie
    for movie in titles:
        assert find_movie(f"id:{movie}", catalogue, movie_ids) == movie
    with pytest.raises(StageError, match=r"^--liked 'id:11': no such movie; "):
        find_movie("id:11", catalogue, movie_ids)
    with pytest.raises(StageError, match=r"no such movie; give a title or an id of the data$"):
        find_movie("zzzz", catalogue, movie_ids)


def test_only_ids_that_are_no_plain_numbers_become_text(recommender: Recommender) -> None:
    served = recommender.for_person(int(recommender.users[0]), [], 3)
    users, movies = recommender.user_ids, recommender.movie_ids
    assert with_raw_ids(served, users, movies).equals(served)
    own = movies.with_columns(raw_id="tt" + pl.col("raw_id"))
    table = with_raw_ids(served, users, own)
    assert table["user_id"].equals(served["user_id"])
    assert table["movie_id"].equals("tt" + served["movie_id"].cast(pl.String))
    assert table.columns == served.columns
