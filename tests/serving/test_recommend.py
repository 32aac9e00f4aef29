"""The command `python -m stages.serving recommend`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from stages.common.checksums import write_checksums
from stages.serving.output import format_table
from stages.serving.pipeline import NEW_USER, SERVED, ServingPipeline
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


def test_the_command_needs_the_bundle_alone(tmp_path: Path, tiny_run: Path) -> None:
    name = "data/bundle_as_evaluated"
    bundle, option = Path(shutil.copytree(tiny_run / name, tmp_path / name)), ("--as-evaluated",)
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


def run_recommend(folder: Path, bundle: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run_command(folder, "recommend", *arguments, "--bundle", str(bundle))


def test_a_new_person_rates_and_never_gets_what_is_rated_or_seen(
    bundle: Path, tmp_path: Path, recommender: ServingPipeline
) -> None:
    movies = ("--liked", "film no 3", "--disliked", "FILM no. 7", "--seen", "Film, No. 9 (1988)")
    result = run_recommend(tmp_path, bundle, *movies, "--top", "100", "--format", "json")
    assert result.returncode == 0, result.stderr
    expected = recommender.for_person(NEW_USER, [3], 100, disliked=[7], seen=[9])
    assert [row["movie_id"] for row in json.loads(result.stdout)] == expected["movie_id"].to_list()
    assert result.stderr == (
        "For a new user who likes Film, No. 3 (1982) [3] and rates low Film, No. 7 (1986) [7] "
        "and has seen Film, No. 9 (1988) [9]\n"
    )


def test_an_option_counts_more_than_the_file_of_ratings(
    bundle: Path, tmp_path: Path, recommender: ServingPipeline
) -> None:
    rows = ["title,stars", "film no 3,5", "Film No. 7,4", "Film No. 9,1", "Film No. 99,1"]
    (tmp_path / "r.csv").write_text("\n".join(rows))
    options = ("--ratings", "r.csv", "--disliked", "7", "--liked", "id:12", "--top", "4")
    result = run_recommend(tmp_path, bundle, *options)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("r.csv: 3 of 4 rows match; 2 liked, with 4 of 5 or more; ")
    assert result.stderr.count("\n") == 1
    heading, _, table = result.stdout.partition(":\n\n")
    assert heading.startswith("For a new user who likes Film, No. 12 (1991) [12], Film, No. 3 (1")
    assert "and rates low Film, No. 7 (1986) [7], Film, No. 9 (1988) [9]" in heading
    expected = recommender.for_person(NEW_USER, [3, 12], 4, disliked=[9, 7])
    assert table.startswith(format_table(expected, recommender.movie_ids) + "\n\n")


def test_all_movies_of_the_options_are_named(bundle: Path, tmp_path: Path) -> None:
    rows = ["title,stars", *(f"film no {number},5" for number in range(1, 9))]
    (tmp_path / "r.csv").write_text("\n".join(rows))
    liked = [text for number in range(20, 28) for text in ("--liked", f"film no {number}")]
    result = run_recommend(tmp_path, bundle, *liked, "--ratings", "r.csv", "--top", "1")
    heading = result.stdout.partition("\n")[0]
    numbers = [int(number) for number in re.findall(r"\[(\d+)\]", heading)]
    assert numbers == [*range(20, 28), *range(1, 6)]
    assert heading.endswith(" and 3 more:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--liked", "flim no 3"],
            'error: --liked "flim no 3": no movie is called that; did you m',
        ),
        (["--seen", "film"], 'error: --seen "film": no movie is called that; did you mean Film, '),
        (["--liked", "3", "--disliked", "id:3"], 'error: --disliked "id:3": is also --liked; give'),
        (["--ratings", "none.csv"], "error: none.csv: not found; give a csv with a column title"),
        (["--user", "42", "--user", "999"], "error: user 999: not in the data; give others, or mo"),
    ],
)
def test_what_is_not_in_the_bundle_is_one_line(
    bundle: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    for more in ([], ["--format", "json", "--out", "x.json"]):
        result = run_recommend(tmp_path, bundle, *arguments, *more)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(message)
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "x.json").exists()


def test_several_users_get_a_table_each_or_rows_with_their_ids(
    bundle: Path, tmp_path: Path, recommender: ServingPipeline
) -> None:
    users = ("--user", "42", "--user", "7", "--user", "42", "--top", "2")
    lists = [recommender.for_person(user, [], 2) for user in (42, 7)]
    tables = [format_table(rows, recommender.movie_ids) for rows in lists]
    result = run_recommend(tmp_path, bundle, *users)
    assert result.stdout == f"For user 42:\n\n{tables[0]}\n\nFor user 7:\n\n{tables[1]}\n"
    result = run_recommend(tmp_path, bundle, *users, "--format", "csv")
    table = pl.read_csv(result.stdout.encode())
    assert table["user_id"].to_list() == [42, 42, 7, 7]
    assert table["movie_id"].to_list() == pl.concat(lists)["movie_id"].to_list()


def test_many_users_go_to_the_terminal_as_well(
    bundle: Path, tmp_path: Path, recommender: ServingPipeline
) -> None:
    (tmp_path / "users.txt").write_text("42\n7\n")
    options = ("--users", "users.txt", "--top", "2")
    expected = pl.concat(recommender.for_users([7, 42], 2))
    rows = json.loads(run_recommend(tmp_path, bundle, *options, "--format", "json").stdout)
    assert [(row["user_id"], row["movie_id"]) for row in rows] == expected.select(
        "user_id", "movie_id"
    ).rows()
    result = run_recommend(tmp_path, bundle, *options)
    assert result.stdout.count("\n") == 2 * 5 + 1
    assert result.stdout.startswith("For user 7:\n\n#  title ")
    assert "\n\nFor user 42:\n\n#  title " in result.stdout


def test_people_read_and_write_their_own_ids(own_bundle: Path, tmp_path: Path) -> None:
    option = ("--bundle", str(own_bundle))
    result = run_command(
        tmp_path, "recommend", "--user", "user-42", "--liked", "id:tt4", "--top", "2", *option
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("For user user-42 who also likes Twins (1999) [tt4]:\n")
    assert result.stdout.count(" [tt") == 3

    result = run_command(tmp_path, "recommend", "--liked", "twins (1999)", *option)
    choices = "Twins (1999) [id:tt4], Twins (1999) [id:tt3]"  # by popularity
    message = f'error: --liked "twins (1999)": 2 movies are called that; give one of {choices}\n'
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)

    (tmp_path / "users.txt").write_text("user-42\nuser-7\n")
    out = tmp_path / "out.parquet"
    options = ("--users", "users.txt", "--top", "3", "--out", str(out), *option)
    result = run_command(tmp_path, "recommend", *options)
    assert result.returncode == 0, result.stderr
    table = pl.read_parquet(out)
    text_ids = {"user_id": pl.String, "movie_id": pl.String, "explanation_id": pl.String}
    assert table.schema == pl.Schema({**SERVED, **text_ids})
    served = pl.concat(ServingPipeline(own_bundle).for_users([7, 42], 3))
    assert served["explanation_id"].null_count() < served.height
    for column, prefix in (("user_id", "user-"), ("movie_id", "tt"), ("explanation_id", "tt")):
        expected = served[column].cast(pl.String)
        assert table[column].equals(prefix + expected)


def test_a_missing_or_damaged_bundle_is_one_line(bundle: Path, tmp_path: Path) -> None:
    result = run_command(tmp_path, "recommend", "--user", "1")
    message = (
        "error: data/bundle/schema.json: not found; run `dvc repro export`, or give --bundle\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)
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
    result = recommend("--liked", "amelie", "--format", "json")
    assert json.loads(result.stdout.encode())[0]["explanation"] in ("Amélie (2001)", None)
    result = recommend("--users", "Zoé", "--out", "x.parquet")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "not found; give a file of users, or `all`\n" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["recommend", "--help"], ["recommend"], ["recommend", "--format", "json"]],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_quietly(bundle: Path, arguments: list[str], unbuffered: str) -> None:
    if "--help" not in arguments:
        arguments = [*arguments, "--user", "42", "--bundle", str(bundle)]
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
