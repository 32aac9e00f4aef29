"""Equal data give equal bytes, whatever the order of rows, the threads, or the folder."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, dvc, ran, run, tiny_tables
from tests.tiny_chain import run_chain

CHAIN = """
import sys
import stages
from pathlib import Path
from tests.tiny_chain import run_chain
run_chain(Path(sys.argv[1]))
"""


def different(one: Path, other: Path) -> list[str]:
    """Files below `one` that `other` lacks or has with other bytes."""
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    assert len(files) > 50
    _, *bad = filecmp.cmpfiles(one, other, files, shallow=False)
    return sorted(str(path) for paths in bad for path in paths)


def test_the_order_of_raw_rows_changes_nothing_under_hashed_ties(tmp_path: Path) -> None:
    ratings, movies = tiny_tables()
    shuffled = (ratings.sample(fraction=1, shuffle=True, seed=3), movies.reverse())
    for name, tables in {"a": (ratings, movies), "b": shuffled}.items():
        run_chain(tmp_path / name, tables, time_split__ties="hash")
    changed = different(tmp_path / "a" / "data", tmp_path / "b" / "data")
    # These tables keep each row's position in the raw file, and the raw files were shuffled.
    row_order = ["positives.parquet", "ratings.parquet", "raw/movies.csv", "raw/ratings.csv"]
    assert changed == row_order


def test_the_number_of_threads_changes_nothing(tiny_run: Path, tmp_path: Path) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
    for threads in ("1", "3"):
        subprocess.run(
            [sys.executable, "-c", CHAIN, str(tmp_path / threads)],
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(names, threads)},
            check=True,
        )
        assert different(tiny_run / "data", tmp_path / threads / "data") == []


def test_an_environment_that_asks_for_other_kernels_changes_nothing(
    tiny_run: Path, tmp_path: Path
) -> None:
    variables = {
        "OPENBLAS_CORETYPE": "SkylakeX",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3",
        "FAISS_SIMD_LEVEL": "NONE",
    }
    subprocess.run(
        [sys.executable, "-c", CHAIN, str(tmp_path / "other")],
        cwd=ROOT,
        env={**os.environ, **variables},
        check=True,
    )
    assert different(tiny_run / "data", tmp_path / "other" / "data") == []


@pytest.mark.slow
def test_a_moved_repository_is_up_to_date(repo: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(repo, tmp_path / "elsewhere" / "other name", symlinks=True)
    assert "up to date" in dvc(moved, "status")
    assert ran(dvc(moved, "repro")) == set()
    assert run(["git", "status", "--porcelain"], moved).stdout == ""
