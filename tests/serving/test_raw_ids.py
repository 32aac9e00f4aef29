from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.serving.pipeline import ServingPipeline
from stages.serving.raw_ids import abbreviate, find_users, read_raw_ids, with_raw_ids


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("u.csv", "user,x\n1,2\n", "u.csv: has no column user_id; rename the column of the ids"),
        ("u.csv", "user_id\n", "u.csv: holds no user; write users into it"),
        ("u.csv", "user_id,user_id\n1,2\n", "u.csv: has 2 columns user_id; rename the others"),
        ("u.csv", "x,user_id\na,1\nb,\n", "u.csv: has a row without user_id; write it, or delete"),
        ("u.csv", "user_id\n1,2\n", r"u.csv: cannot be read \(.*\); give csv or txt"),
        ("u.csv", "", "u.csv: is empty; write users into it$"),
        ("u.txt", "", "u.txt: is empty; write users into it$"),
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
    with pytest.raises(StageError, match=r"none.txt: not found; give a file of users, or `all`$"):
        read_raw_ids(tmp_path / "none.txt")


def test_files_of_users_are_read(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text('name,user_id\n"a, b",7\nc, 3\n')
    assert read_raw_ids(tmp_path / "u.csv").to_list() == ["7", "3"]
    (tmp_path / "u.txt").write_text("7\n\n 3 \n7\n")
    assert read_raw_ids(tmp_path / "u.txt").to_list() == ["7", "3", "7"]
    (tmp_path / "u.txt").write_bytes(b"\xef\xbb\xbf7\r\nno. 3\r\n")
    assert read_raw_ids(tmp_path / "u.txt").to_list() == ["7", "no. 3"]


def test_more_than_five_ids_are_counted() -> None:
    assert abbreviate(list("abcde")) == "a, b, c, d, e"
    assert abbreviate([*range(6)]) == "0, 1, 2, 3, 4 and 1 more"
    assert abbreviate([*range(6)], 2) == "0, 1 and 4 more"
    assert abbreviate([]) == ""


def test_users_are_found_by_the_ids_of_the_raw_data() -> None:
    user_ids = pl.DataFrame({"user_id": [1, 2], "raw_id": ["b-1", "a"]})
    assert find_users(pl.Series(["a", "b-1", "a"]), user_ids).tolist() == [2, 1, 2]
    with pytest.raises(
        StageError, match=r"user 1, z: not in the data; give others, or movies that you"
    ):
        find_users(pl.Series(["a", "1", "z"]), user_ids)
    with pytest.raises(StageError, match=r"^user 'a\\nb', 'c\\x1b': not in the data"):
        find_users(pl.Series(["a\nb", "c\x1b"]), user_ids)


def test_only_ids_that_are_no_plain_numbers_become_text(recommender: ServingPipeline) -> None:
    served = recommender.for_person(int(recommender.users[0]), [], 3)
    users, movies = recommender.user_ids, recommender.movie_ids
    assert with_raw_ids(served, users, movies).equals(served)
    own = movies.with_columns(raw_id="tt" + pl.col("raw_id"))
    table = with_raw_ids(served, users, own)
    assert table["user_id"].equals(served["user_id"])
    assert table["movie_id"].equals("tt" + served["movie_id"].cast(pl.String))
    assert table.columns == served.columns


def test_users_movies_and_explanations_have_the_ids_of_the_raw_data() -> None:
    users = pl.DataFrame({"user_id": [1, 2], "raw_id": ["ann", "bob"]})
    movies = pl.DataFrame({"movie_id": [5, 6], "raw_id": ["tt5", "tt6"]})
    columns = {
        "user_id": [2, None],
        "rank": [1, 2],
        "movie_id": [6, 5],
        "explanation_id": [None, 6],
    }
    table = with_raw_ids(pl.DataFrame(columns), users, movies)
    assert table.rows() == [("bob", 1, "tt6", None), (None, 2, "tt5", "tt6")]
    assert set(table.drop("rank").dtypes) == {pl.String}
    assert table.drop("user_id").equals(
        with_raw_ids(pl.DataFrame(columns).drop("user_id"), users, movies)
    )
