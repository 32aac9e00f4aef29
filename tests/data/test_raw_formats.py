import re
from pathlib import Path

import pytest

from stages.common.stage import StageError
from stages.data.raw_formats import RawFiles, find_files, raw_file_names
from tests.raw_folder import run_clean


@pytest.mark.parametrize(
    ("names", "files"),
    [
        ("ratings.csv movies.csv a.txt", ("table", "ratings.csv", "movies.csv")),
        ("rating.tsv items.parquet", ("table", "rating.tsv", "items.parquet")),
        ("interactions.parquet", ("table", "interactions.parquet", "")),
        ("ratings.dat movies.dat users.dat", ("dat", "ratings.dat", "movies.dat")),
        ("u.item u.data", ("ml-100k", "u.data", "u.item")),
        ("._a.inter a.inter a.user a.item", ("recbole", "a.inter", "a.item")),
        ("b.inter b.link", ("recbole", "b.inter", "")),
        ("u.inter u.item", ("recbole", "u.inter", "u.item")),
        ("a.b.inter a.b.item", ("recbole", "a.b.inter", "a.b.item")),
        (".ratings.csv Ratings.csv ratings.tsv", ("table", "ratings.tsv", "")),
    ],
)
def test_files_that_belong_together_are_found(names: str, files: tuple[str, str, str]) -> None:
    assert find_files(names.split(), "f") == RawFiles(*files)
    assert raw_file_names(names.split(), "f") == [name for name in files[1:] if name]


def test_a_folder_without_a_ratings_file_lists_the_choices() -> None:
    kinds = "{.csv,.tsv,.parquet}"
    message = (
        f"f: has no ratings file; add one named ratings{kinds}, rating{kinds}, "
        f"interactions{kinds}, ratings.dat, u.data, *.inter"
    )
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        raw_file_names(["a.txt", "movies.csv"], "f")


def test_two_files_of_one_kind_are_an_error(raw: Path) -> None:
    for name in ("ratings.csv", "interactions.parquet"):
        (raw / name).write_text("")
    with pytest.raises(StageError, match=r"has ratings\.csv and interactions\.parquet; keep one"):
        run_clean(raw)
    with pytest.raises(StageError, match=r"has movies\.csv and items\.csv; keep one"):
        find_files(["ratings.csv", "items.csv", "movies.csv"], "f")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("ratings.csv ratings.dat movies.dat", "has ratings.csv and ratings.dat; keep one of them"),
        ("u.data ratings.tsv", "has ratings.tsv and u.data; keep one of them"),
        ("a.inter b.inter", "has a.inter and b.inter; keep one of them"),
        ("a.inter a.test.inter", "has a.inter and a.test.inter; keep one of them"),
        ("a.train.inter b.test.inter", "has a.train.inter and b.test.inter; keep one of them"),
        ("ratings.dat movies.dat movies.csv", "has movies.csv and movies.dat; keep one of them"),
        (
            "ratings.csv u.item",
            "has ratings.csv and u.item, which do not belong together; write the movies as "
            "movies.csv, or remove u.item",
        ),
        (
            "b.inter a.item",
            "has b.inter and a.item, which do not belong together; write the movies as b.item, "
            "or remove a.item",
        ),
        (
            "a.train.inter a.item",
            "has a.train.inter and a.item, which do not belong together; write the movies as "
            "a.train.item, or remove a.item",
        ),
        (
            "a.csv ratings.dat movies.csv",
            "has ratings.dat and movies.csv, which do not belong together; write the movies as "
            "movies.dat, or remove movies.csv",
        ),
        (
            "ratings.csv rating.csv interactions.tsv",
            "has ratings.csv, rating.csv and interactions.tsv; keep one of them",
        ),
        (
            "a.b.test.inter a.b.valid.inter a.b.train.inter",
            "has a.b.test.inter, a.b.train.inter and a.b.valid.inter; join them with "
            "(cat a.b.train.inter; tail -qn +2 a.b.valid.inter a.b.test.inter) > a.b.inter and "
            "keep a.b.inter instead",
        ),
        (
            "a.val.inter a.train.inter a.item",
            "has a.train.inter and a.val.inter; join them with "
            "(cat a.train.inter; tail -qn +2 a.val.inter) > a.inter and keep a.inter instead",
        ),
    ],
)
def test_no_file_of_a_known_name_is_left_unread(names: str, message: str) -> None:
    with pytest.raises(StageError, match=rf"^f: {re.escape(message)}$"):
        find_files(names.split(), "f")
