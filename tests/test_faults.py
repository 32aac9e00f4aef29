"""Bad input through the real commands: one clear line and no output, or a count."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.stage import StageError
from tests.conftest import ROOT, edit_params, tiny_tables
from tests.faults import ORDER, SHARED, ZIPS, Case, page
from tests.tiny_chain import run_chain

SPLIT = "--train data/split/train.parquet --val data/split/val.parquet"
BEFORE = f"{SPLIT} --histories data/histories"
MOVIES = "--catalogue data/movies/catalogue.parquet"
RATINGS, LIKINGS = "--ratings data/ratings.parquet", "--positives data/positives.parquet"
COMMANDS = {
    "clean": f"--raw data/raw {RATINGS} {MOVIES} --ids data/ids --metrics metrics/data.json",
    "positives": f"{RATINGS} {LIKINGS}",
    "time_split": f"{LIKINGS} --split data/split --metrics metrics/split.json",
    "histories": BEFORE,
    "popularity": f"{MOVIES} {BEFORE} --popularity data/popularity --recommendations data/lists",
}


def run(folder: Path, stage: str, options: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"stages.{stage}", *options.split()]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def refused(done: subprocess.CompletedProcess, error: str) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"error: {error}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert "; " in done.stderr  # what to do


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.parametrize("case", SHARED, ids=lambda case: case.fault)
def test_bad_input_is_refused_in_one_line_or_counted(case: Case, workspace: Path) -> None:
    raw = workspace / "data" / "raw"
    raw.mkdir()
    for name, content in case.files.items():
        (raw / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    edit_params(workspace, **{key.replace(".", "__"): v for key, v in case.params.items()})
    for stage in ORDER[: ORDER.index(case.stage) + 1]:
        before = everything(workspace)
        done = run(workspace, stage, COMMANDS[stage])
        if stage == case.stage and case.error:
            refused(done, case.error)
            assert everything(workspace) == before
        else:
            assert done.returncode == 0, done.stderr
    if case.figures:
        found = {}
        for path in (workspace / "metrics").glob("*.json"):
            found = {**json.loads(path.read_text()), **found}
        assert {name: found[name] for name in case.figures} == case.figures
    else:
        assert case.error


@pytest.mark.parametrize("fault", ZIPS)
def test_a_bad_archive_is_refused_or_only_its_raw_files_are_taken(
    fault: str, workspace: Path, tmp_path: Path
) -> None:
    content, expected, error = ZIPS[fault]
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "ml-tiny.zip").write_bytes(content)
    digest = hashlib.sha256(content if expected else b"other").hexdigest()
    (workspace / "data" / "sources" / "ml-tiny").write_text(
        f"url: https://example.org/ml-tiny.zip\nfolder: ml-tiny\nchecksum: sha256:{digest}\n"
    )
    options = "--source ml-tiny --sources data/sources --raw data/raw"
    before = everything(tmp_path)
    done = run(workspace, "download", options, MOVIELENS_MIRROR=str(mirror))
    raw = workspace / "data" / "raw"
    assert not Path("/tmp/out.csv").exists()
    if error:
        refused(done, error)
        assert not raw.exists()
        # A whole download stays for the next try, unless it is not what was asked for.
        assert everything(tmp_path) - before <= {workspace / "data" / "parts" / "ml-tiny.zip.part"}
    else:
        assert done.returncode == 0, done.stderr
        assert everything(tmp_path) - before == {raw / "ratings.csv", raw / "movies.csv"}


def test_the_page_lists_every_fault() -> None:
    assert (ROOT / "docs" / "faults.md").read_text() == page()
    assert len(SHARED) + len(ZIPS) >= 60


def test_too_few_users_for_a_ranker_are_one_line(tmp_path: Path) -> None:
    ratings, movies = tiny_tables(users=2)
    with pytest.raises(StageError, match="no target was retrieved"):
        run_chain(tmp_path, (ratings, movies))
