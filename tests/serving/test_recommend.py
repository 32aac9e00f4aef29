"""The command `python -m stages.serving recommend`."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.serving.recommend import (
    find_movie,
    find_users,
    format_table,
    read_raw_ids,
    write_recommendations,
)
from stages.serving.recommender import NEW_USER, SERVED, Recommender
from tests.serving.commands import run_command


def test_the_command_needs_the_bundle_alone(bundle: Path, tmp_path: Path, tiny_run: Path) -> None:
    option = ("--bundle", str(bundle))
    result = run_command(tmp_path, "recommend", "--user", "42", "--top", "3", *option)
    assert result.returncode == 0, result.stderr
    lists = pl.read_parquet(tiny_run / "data/recommendations/ranker_history/test.parquet")
    best = lists.filter(pl.col("user_id") == 42)["movie_id"].head(3)
    lines = result.stdout.splitlines()[3:6]
    assert [f"[{movie}]" in line for movie, line in zip(best, lines)] == [True] * 3

    out = tmp_path / "out.parquet"
    options = ("--users", "all", "--top", "3", "--out", str(out), *option)
    result = run_command(tmp_path, "recommend", *options)
    assert result.returncode == 0, result.stderr
    table = pl.read_parquet(out)
    assert table.schema == SERVED
    keys = ["user_id", "movie_id", "rank"]
    assert table.select(keys).equals(lists.filter(pl.col("rank") <= 3).select(keys))
    seen = pl.read_parquet(bundle / "tables" / "seen.parquet")
    assert 0 < seen["positive"].sum() < seen.height
    assert table.join(seen, on=["user_id", "movie_id"], how="semi").is_empty()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give --user, or --liked once or more, or --users"),
        (["--user", "1", "--users", "all"], 2, "give --user, or --liked"),
        (["--users", "all"], 2, "--users and --out belong together"),
        (["--users", "all", "--out", "x.csv"], 2, "--out: name a .parquet file"),
        (["--user", "1", "--top", "0"], 2, "--top: give 1 or more"),
        (["--user", "1"], 1, "error: data/bundle/schema.json: not found; run `dvc repro export`"),
    ],
)
def test_a_wrong_command_gets_an_error_that_says_why(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    result = run_command(tmp_path, "recommend", *arguments)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("u.csv", "user,x\n1,2\n", "u.csv: has no column user_id; rename the column of the ids"),
        ("u.csv", "user_id\n", "u.csv: holds no user; write users into it"),
        ("u.txt", "", "u.txt: is empty"),
    ],
)
def test_bad_files_of_users_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StageError, match=message):
        read_raw_ids(tmp_path / name)
    with pytest.raises(StageError, match=r"none.txt: not found"):
        read_raw_ids(tmp_path / "none.txt")


def test_files_of_users_are_read(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text('name,user_id\n"a, b",7\nc, 3\n')
    assert read_raw_ids(tmp_path / "u.csv").to_list() == ["7", "3"]
    (tmp_path / "u.txt").write_text("7\n\n 3 \n7\n")
    assert read_raw_ids(tmp_path / "u.txt").to_list() == ["7", "3", "7"]


def test_an_interrupted_run_leaves_the_old_file(recommender: Recommender, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    write_recommendations(recommender.for_users(recommender.users[:3], 2), path)
    content = path.read_bytes()

    def interrupted_batches() -> Iterator[pl.DataFrame]:
        yield from recommender.for_users(recommender.users, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_recommendations(interrupted_batches(), path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


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
    served = recommender.for_person(NEW_USER, [5], 1)
    raw_ids = pl.DataFrame({"movie_id": served["movie_id"], "raw_id": ["tt99"]})
    assert "[tt99]" in format_table(served, raw_ids)


def test_the_text_has_a_line_for_each_movie(recommender: Recommender) -> None:
    served = recommender.for_person(NEW_USER, [5], 3)
    lines = format_table(served, recommender.movie_ids).splitlines()
    assert len(lines) == 4
    assert "because you liked" in lines[0]
    assert lines[1].startswith("1  Film, No. ")
