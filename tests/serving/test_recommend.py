"""The command `python -m stages.serving recommend`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from stages.common.checksums import write_checksums
from stages.serving.recommend import MAX_WIDTH, format_table, write_recommendations
from stages.serving.recommender import NEW_USER, SERVED, Recommender
from tests.conftest import ROOT
from tests.serving.commands import run_command


@pytest.fixture
def own_bundle(bundle: Path) -> Path:
    """A bundle of text ids; movies 3 and 4 have one title, that of movie 5 is not ASCII."""
    for table, prefix in (("user_ids", "user-"), ("movie_ids", "tt")):
        path = bundle / "tables" / f"{table}.parquet"
        ids = pl.read_parquet(path)
        ids.with_columns(raw_id=prefix + pl.col("raw_id")).write_parquet(path)
    path = bundle / "tables" / "catalogue.parquet"
    titles = {3: "Twins (1999)", 4: "Twins (1999)", 5: "Amélie (2001)"}
    catalogue = pl.read_parquet(path)
    new_titles = pl.col("movie_id").replace_strict(titles, default=pl.col("title"))
    catalogue.with_columns(title=new_titles).write_parquet(path)
    write_checksums(bundle)
    return bundle


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
        (["--user", "1", "--user", "2"], 2, "--user: give one user, or a file of users with"),
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


def test_the_text_has_a_line_for_each_movie(recommender: Recommender) -> None:
    served = recommender.for_person(NEW_USER, [5], 3)
    lines = format_table(served, recommender.movie_ids).splitlines()
    assert len(lines) == 4
    assert "because you liked" in lines[0]
    assert lines[1].startswith("1  Film, No. ")


def test_a_long_title_is_cut_and_its_id_is_not(recommender: Recommender) -> None:
    served = recommender.for_person(NEW_USER, [5], 2).with_columns(title=pl.lit("Long " * 20))
    ids = {"movie_id": served["movie_id"], "raw_id": ["tt1", "x" * 60]}
    lines = format_table(served, pl.DataFrame(ids)).splitlines()
    cut = f"{('Long ' * 20)[: MAX_WIDTH - 9]}... [tt1]"
    assert lines[1].startswith(f"1  {cut} ")
    assert len(cut) == MAX_WIDTH
    assert f"... [{'x' * 60}]" in lines[2]
    starts = {line.index(genres[0]) for line, genres in zip(lines[1:], served["genres"])}
    assert len(starts) == 1


def test_an_id_that_is_the_title_is_written_once(recommender: Recommender) -> None:
    served = recommender.for_person(NEW_USER, [5], 2).with_columns(title=pl.lit("song:28"))
    ids = {"movie_id": served["movie_id"], "raw_id": ["song:28", "song:2"]}
    lines = format_table(served, pl.DataFrame(ids)).splitlines()
    assert lines[1].startswith("1  song:28  ")
    assert lines[2].startswith("2  song:28 [song:2]  ")


def test_people_read_and_write_their_own_ids(own_bundle: Path, tmp_path: Path) -> None:
    option = ("--bundle", str(own_bundle))
    result = run_command(
        tmp_path, "recommend", "--user", "user-42", "--liked", "id:tt4", "--top", "2", *option
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("For user user-42 who also likes Twins (1999) [tt4]:\n")
    assert result.stdout.count(" [tt") == 3

    result = run_command(tmp_path, "recommend", "--liked", "twins (1999)", *option)
    choices = "id:tt3 (Twins (1999)), id:tt4 (Twins (1999))"
    message = f"error: --liked 'twins (1999)': fits 2 movies; give one of {choices}\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)

    (tmp_path / "users.txt").write_text("user-42\nuser-7\n")
    out = tmp_path / "out.parquet"
    options = ("--users", "users.txt", "--top", "3", "--out", str(out), *option)
    result = run_command(tmp_path, "recommend", *options)
    assert result.returncode == 0, result.stderr
    table = pl.read_parquet(out)
    text_ids = {"user_id": pl.String, "movie_id": pl.String, "explanation_id": pl.String}
    assert table.schema == pl.Schema({**SERVED, **text_ids})
    served = pl.concat(Recommender(own_bundle).for_users([7, 42], 3))
    assert served["explanation_id"].null_count() < served.height
    for column, prefix in (("user_id", "user-"), ("movie_id", "tt"), ("explanation_id", "tt")):
        expected = served[column].cast(pl.String)
        assert table[column].equals(prefix + expected)


def test_a_damaged_bundle_is_one_line(bundle: Path, tmp_path: Path) -> None:
    for name in ("ranker/0.txt", "arrays/id.npz", "SHA256SUMS"):
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[: len(content) // 2])
        result = run_command(tmp_path, "recommend", "--user", "42", "--bundle", str(bundle))
        assert result.returncode == 1
        assert result.stderr.startswith(f"error: {bundle / name}: ")
        assert result.stderr.count("\n") == 1
        (bundle / name).write_bytes(content)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_any_encoding_of_the_terminal_will_do(
    own_bundle: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    def recommend(*arguments: str) -> subprocess.CompletedProcess:
        options = ("--top", "1", "--bundle", str(own_bundle))
        return run_command(tmp_path, "recommend", *arguments, *options, variables=variables)

    result = recommend("--liked", "Amélie (2001)")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("For a new user who likes Am\\xe9lie (2001) [tt5]:\n")
    result = recommend("--users", "Zoé", "--out", "x.parquet")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "not found; give a file of users, or `all`\n" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["recommend", "--help"], ["recommend"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_quietly(bundle: Path, arguments: list[str], unbuffered: str) -> None:
    if arguments == ["recommend"]:
        arguments = ["recommend", "--user", "42", "--bundle", str(bundle)]
    reader, writer = os.pipe()
    os.close(reader)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "PYTHONUNBUFFERED": unbuffered}
    result = subprocess.run(
        [sys.executable, "-m", "stages.serving", *arguments],
        env=environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert result.stderr == b""
    # Without a buffer, argparse itself ignores the failure of its help.
    assert result.returncode == 1 or "--help" in arguments
