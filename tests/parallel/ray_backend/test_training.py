"""Trainings on Ray as stages, and trainings that fail."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.parallel.ray_backend.training import Rendezvous, train_on_workers
from tests.conftest import ROOT, edit_params
from tests.parallel.runs import with_ray

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own code warns


def test_all_workers_get_the_values_of_all() -> None:
    async def gather() -> list[list[str]]:
        rendezvous = Rendezvous(3)
        calls = [rendezvous.all_gather("a", rank, f"a{rank}") for rank in (2, 0, 1)]
        calls += [rendezvous.all_gather("b", rank, f"b{rank}") for rank in (1, 2, 0)]
        results = await asyncio.gather(*calls)
        assert rendezvous.rounds == {}
        return results

    assert asyncio.run(gather()) == [["a0", "a1", "a2"]] * 3 + [["b0", "b1", "b2"]] * 3


@with_ray
@pytest.mark.long
def test_a_worker_that_always_dies_is_reported_in_one_line(two_workers: Path) -> None:
    with pytest.raises(StageError, match=r"^ray\.workers: training x failed 4 times"):
        train_on_workers("lightgbm", dying_loop, {}, "x", lambda folder: folder)


def dying_loop(config: dict) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@with_ray
@pytest.mark.long
def test_the_training_stages_run_on_ray(tiny_run: Path, time_limit: None, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    edit_params(folder, backend="ray", retrievers__id__epochs=2, retrievers__id__dimension=8)
    for words in (
        "train_ranker basic --examples data/examples --models data/models/again "
        "--importance-tables importance",
        "train_retrieval id --histories data/histories --seen data/seen "
        "--targets data/targets/inner_val.parquet --genres data/movies/genres.parquet "
        "--models data/models/again --curves curves",
    ):
        command = [sys.executable, "-m", *f"stages.{words}".split()]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr[-3000:]
    models = folder / "data" / "models" / "again"
    assert (models / "basic" / "0.txt").read_text().startswith("tree\n")
    assert len(pl.read_csv(folder / "curves" / "id.csv")) == 2
    assert (models / "id" / "test.npz").exists()
