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
        ("ratings.dat movies.dat movies.csv", ("dat", "ratings.dat", "movies.dat")),
        ("u.item u.data", ("ml-100k", "u.data", "u.item")),
        ("b.inter a.inter a.item", ("recbole", "a.inter", "a.item")),
        ("b.inter a.item", ("recbole", "b.inter", "")),
    ],
)
def test_files_that_belong_together_are_found(names: str, files: tuple[str, str, str]) -> None:
    assert find_files(names.split(), "f") == RawFiles(*files)
    assert raw_file_names(names.split(), "f") == [name for name in files[1:] if name]


def test_a_folder_without_a_ratings_file_lists_the_choices() -> None:
    message = r"f: has no ratings file; add one named ratings\{\.csv,\.tsv,\.parquet\}, .*u\.data"
    with pytest.raises(StageError, match=message):
        raw_file_names(["a.txt", "movies.csv"], "f")


def test_two_files_of_one_kind_are_an_error(raw: Path) -> None:
    for name in ("ratings.csv", "interactions.parquet"):
        (raw / name).write_text("")
    with pytest.raises(StageError, match=r"has ratings\.csv and interactions\.parquet; keep one"):
        run_clean(raw)
    with pytest.raises(StageError, match=r"has movies\.csv and items\.csv; keep one"):
        find_files(["ratings.csv", "items.csv", "movies.csv"], "f")
