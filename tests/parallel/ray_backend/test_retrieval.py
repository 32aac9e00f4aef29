"""A retriever that two workers train is as good as one trained in one process."""
# ruff: noqa: F811

import hashlib
import importlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stages.common.params import load_params
from stages.common.stage import StageError
from stages.data.snapshots import SNAPSHOTS
from tests.parallel.runs import with_ray
from tests.retrieval.tables import LENGTH, tables  # noqa: F401 (a fixture)

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own code warns

LONG_HISTORY = pytest.param("history", marks=pytest.mark.long)
SMALL = {
    "dimension": 16,
    "batch_size": 16,
    "epochs": 3,
    "finetune_epochs_ratio": 0.5,
    "learning_rate": 0.01,
}


def small_retriever(name: str, **changes: object) -> tuple[ModuleType, object]:
    """The module of a retriever, and small params for it."""
    retriever = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(retriever.Params, f"retrievers.{name}")
    return retriever, params.model_copy(update={**SMALL, **changes})


def test_every_worker_needs_a_row_of_each_batch(two_workers: Path) -> None:
    from stages.parallel.ray_backend.retrieval import train_on_ray

    _, params = small_retriever("id", batch_size=1)
    with pytest.raises(StageError, match=r"^ray\.workers: 2 share batches of 1; set it lower$"):
        train_on_ray(None, "id", params, {}, LENGTH, 1)


@with_ray
@pytest.mark.parametrize("name", ["id", LONG_HISTORY])
def test_a_retriever_of_two_workers_learns_as_well_as_one_of_one_worker(
    name: str, two_workers: Path, tables: dict
) -> None:
    from stages.parallel.ray_backend.retrieval import train_on_ray
    from stages.train_retrieval import train

    retriever, params = small_retriever(name)
    local, local_arrays = train(retriever, params, tables, LENGTH, 1)
    fitted, arrays = train_on_ray(train, name, params, tables, LENGTH, 1)
    assert tuple(arrays) == SNAPSHOTS
    assert len(fitted.curve) == len(local.curve)
    for row, local_row in zip(fitted.curve, local.curve):
        assert row["loss"] == pytest.approx(local_row["loss"], rel=0.1)
    best, local_best = (max(row["ndcg@10"] for row in fit.curve) for fit in (fitted, local))
    assert best > 0.7 * local_best > 0
    for snapshot, weights in arrays.items():
        assert weights.keys() == local_arrays[snapshot].keys()
        assert all(weights[k].shape == v.shape for k, v in local_arrays[snapshot].items())
    if name == "history":
        # Each worker has one of the two parts of a batch, which one process would have both.
        first = SNAPSHOTS[0]
        assert np.allclose(arrays[first]["movie"], local_arrays[first]["movie"], atol=0.02)


def logging_loop(config: dict) -> None:
    """`stages.parallel.ray_backend.retrieval.train_loop`, which logs files for the test."""
    from stages.parallel.ray_backend import retrieval

    restore_checkpoint = retrieval.RayWorker.restore_checkpoint
    save_checkpoint = retrieval.RayWorker.save_checkpoint
    log = Path(config["log"])

    def restore_and_log(self, model):
        state = restore_checkpoint(self, model)
        row = [self.file.stem, self.rank, os.getpid(), state.epoch]
        with (log / "starts.txt").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return state

    def save_and_log(self, model, state):
        save_checkpoint(self, model, state)
        (log / f"at-{self.rank}.txt").write_text(f"{self.file.stem} {state.epoch} {os.getpid()}")
        weights = b"".join(v.tobytes() for v in model.arrays().values())
        name = f"{self.file.stem}-{state.epoch}-{self.rank}.md5"
        (log / name).write_text(hashlib.md5(weights).hexdigest())
        time.sleep(config["pause"])

    retrieval.CHECKPOINT_SECONDS = 0.0
    retrieval.RayWorker.restore_checkpoint = restore_and_log
    retrieval.RayWorker.save_checkpoint = save_and_log
    retrieval.train_loop({k: v for k, v in config.items() if k not in ("log", "pause")})


def train_with_log(name: str, log: Path, pause: float, tables: dict, **changes: object):
    """Train on two workers that write to `log`, and that pause after each epoch."""
    from stages.parallel.ray_backend.cluster import connect
    from stages.parallel.ray_backend.retrieval import read_checkpoint
    from stages.parallel.ray_backend.training import train_on_workers
    from stages.train_retrieval import train

    _, params = small_retriever(name, **changes)
    ray = connect()
    config = {
        "train": train,
        "name": name,
        "params": params,
        "tables": {key: ray.put(table) for key, table in tables.items()},
        "max_length": LENGTH,
        "seed": 1,
        "log": str(log),
        "pause": pause,
    }
    return train_on_workers("tensorflow", logging_loop, config, name, read_checkpoint)


@with_ray
@pytest.mark.long
@pytest.mark.parametrize("name", ["genre", "history"])
def test_all_workers_have_the_same_weights_after_every_epoch(
    name: str, two_workers: Path, tmp_path: Path, tables: dict
) -> None:
    fitted, _ = train_with_log(name, tmp_path, 0, tables, dropout=0.2)
    rank_0 = sorted(tmp_path.glob("*-0.md5"))
    assert len(rank_0) >= len(fitted.curve) + 2
    for path in rank_0:
        assert path.read_text() == Path(str(path).replace("-0.md5", "-1.md5")).read_text()


@with_ray
@pytest.mark.long
def test_training_resumes_from_the_last_checkpoint_when_a_worker_is_killed(
    two_workers: Path, tmp_path: Path, tables: dict
) -> None:
    killed_epochs = []

    def kill() -> None:
        path = tmp_path / "at-1.txt"
        while not killed_epochs:
            if path.exists() and len(words := path.read_text().split()) == 3:
                snapshot, epoch, process = words
                if snapshot == SNAPSHOTS[0] and int(epoch) >= 2:
                    killed_epochs.append(int(epoch))
                    os.kill(int(process), signal.SIGKILL)
            time.sleep(0.02)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    log = tmp_path
    fitted, arrays = train_with_log("id", log, 0.5, tables, epochs=5, patience=9)
    thread.join(5)
    assert killed_epochs
    starts = [json.loads(line) for line in (log / "starts.txt").read_text().splitlines()]
    first = [row for row in starts if row[0] == SNAPSHOTS[0]]
    processes = {row[2] for row in first}
    assert len(processes) == 4, "two workers, and two that replace them"
    assert {row[3] for row in first[:2]} == {0}
    assert all(killed_epochs[0] - 1 <= row[3] <= killed_epochs[0] + 1 for row in first[2:])
    assert all(row[3] >= 1 for row in first[2:]), "not from the start"
    assert [row["epoch"] for row in fitted.curve] == [1, 2, 3, 4, 5]
    # The result is that of an undisturbed training.
    undisturbed_log = tmp_path / "undisturbed"
    undisturbed_log.mkdir()
    undisturbed, undisturbed_arrays = train_with_log(
        "id", undisturbed_log, 0, tables, epochs=5, patience=9
    )
    assert [row["loss"] for row in undisturbed.curve] == pytest.approx(
        [row["loss"] for row in fitted.curve], rel=1e-5
    )
    for snapshot, weights in arrays.items():
        expected = undisturbed_arrays[snapshot]
        assert all(np.allclose(v, expected[k], atol=1e-5) for k, v in weights.items())
