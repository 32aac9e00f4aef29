"""Bad input through the commands of the stages: one clear line and no output, or a count."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.stage import StageError
from tests.conftest import ROOT, edit_params, tiny_tables
from tests.pipeline.faults import CASES, ORDER, ZIPS, Case, page
from tests.tiny_chain import run_chain

RATINGS, POSITIVES = "--ratings data/ratings.parquet", "--positives data/positives.parquet"
CATALOGUE, HISTORIES = "--catalogue data/movies/catalogue.parquet", "--histories data/histories"
PARTS = "--train data/split/train.parquet --val data/split/val.parquet"
PARTS += " --later data/split/later.parquet --queries data/split/test_queries.parquet"
TARGETS, SEEN = "--targets data/targets", "--seen data/seen"
SPLIT = "--split data/split --metrics metrics/split.json"
GENERATOR = "--models data/models/generators --candidates data/candidates"
OPTIONS = {
    "clean": f"--raw data/raw {RATINGS} {CATALOGUE} --ids data/ids --metrics metrics/data.json",
    "positives": f"{RATINGS} {POSITIVES}",
    "time_split": f"{POSITIVES} {RATINGS} {TARGETS} {SPLIT}",
    "histories": f"{PARTS} {TARGETS} {HISTORIES}",
    "seen": f"{RATINGS} {HISTORIES} {SEEN}",
    "fit_generator": f"popularity {HISTORIES} {SEEN} {GENERATOR}",
}


def run_command(
    folder: Path, stage: str, options: str, **environment: str
) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"stages.{stage}", *options.split()]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def check_refused(process: subprocess.CompletedProcess, error: str) -> None:
    assert process.returncode == 1, process.stderr
    assert process.stderr.startswith(f"error: {error}"), process.stderr
    assert process.stderr.count("\n") == 1
    assert "; " in process.stderr  # separates what to do


def all_files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
def test_bad_input_is_refused_in_one_line_or_counted(case: Case, workspace: Path) -> None:
    raw = workspace / "data" / "raw"
    raw.mkdir()
    for name, content in case.files.items():
        (raw / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    edit_params(workspace, **{key.replace(".", "__"): v for key, v in case.params.items()})
    for stage in ORDER[: ORDER.index(case.stage) + 1]:
        files = all_files(workspace)
        process = run_command(workspace, stage, OPTIONS[stage])
        if stage == case.stage and case.error:
            check_refused(process, case.error)
            assert all_files(workspace) == files
        else:
            assert process.returncode == 0, process.stderr
    if case.figures:
        figures = {}
        for path in (workspace / "metrics").glob("*.json"):
            figures = {**json.loads(path.read_text()), **figures}
        assert {name: figures[name] for name in case.figures} == case.figures
    else:
        assert case.error


@pytest.mark.parametrize("fault", ZIPS)
def test_a_bad_archive_is_refused_or_only_its_raw_files_are_extracted(
    fault: str, workspace: Path, tmp_path: Path
) -> None:
    content, has_checksum, error = ZIPS[fault]
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "ml-tiny.zip").write_bytes(content)
    digest = hashlib.sha256(content if has_checksum else b"other").hexdigest()
    (workspace / "data" / "sources" / "ml-tiny").write_text(
        f"url: https://example.org/ml-tiny.zip\nfolder: ml-tiny\nchecksum: sha256:{digest}\n"
    )
    edit_params(workspace, data__source="ml-tiny")
    options = "--sources data/sources --raw data/raw"
    files = all_files(tmp_path)
    process = run_command(workspace, "download", options, MOVIELENS_MIRROR=str(mirror))
    raw = workspace / "data" / "raw"
    assert not Path("/tmp/out.csv").exists()
    new_files = all_files(tmp_path) - files
    if error:
        check_refused(process, error)
        assert not raw.exists()
        # A finished download is kept for the next run, unless its checksum is wrong.
        assert new_files <= {workspace / "data" / "parts" / "ml-tiny.zip.part"}
    else:
        assert process.returncode == 0, process.stderr
        assert new_files == {raw / "ratings.csv", raw / "movies.csv"}


def test_the_page_lists_every_fault() -> None:
    assert (ROOT / "docs" / "faults.md").read_text() == page()
    assert len(CASES) + len(ZIPS) >= 60


def test_too_few_users_for_a_ranker_are_one_line(tmp_path: Path) -> None:
    ratings, movies = tiny_tables(users=2)
    with pytest.raises(StageError, match=r"none of \d+ targets was retrieved"):
        run_chain(tmp_path, (ratings, movies))
