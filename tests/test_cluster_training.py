"""Training on Ray against training in one process; skipped where Ray is not installed."""
# ruff: noqa: F811

import dataclasses
import gc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import engine
from stages.common.params import load_params
from stages.common.stage import StageError
from stages.train_ranker import KEYS, Params, lightgbm_params, train
from tests.conftest import ROOT, edit_params
from tests.test_retrieval import LENGTH, tables  # noqa: F401 (a fixture)

# Not imported for that: it reads RAY_AUTH_MODE when it is, which `stages.cluster` sets.
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install -r requirements-ray.txt",
)
SECONDS = 300  # for one test; a cluster that hangs has to fail
LONG_HISTORY = pytest.param("history", marks=pytest.mark.long)
SMALL = {"dimension": 16, "batch_size": 16, "epochs": 3, "warm_start": 0.5, "learning_rate": 0.01}


@pytest.fixture
def limited() -> Iterator[None]:
    """End a test that hangs."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose params.yaml chooses a local cluster of two."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    edit_params(folder, engine="ray", ray__workers=2, ray__storage=str(folder / "storage"))
    return folder


@pytest.fixture
def two_workers(folder: Path, limited: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster of two on this machine; it stays until the last test is done."""
    monkeypatch.chdir(folder)
    engine.chosen.cache_clear()
    yield folder
    engine.chosen.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def no_cluster_is_left() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        # Of the cluster's processes, which Ray ends without waiting for them.
        warnings.simplefilter("ignore")
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        gc.collect()
    if "stages.cluster" in sys.modules:
        sys.modules["stages.cluster"].connect.cache_clear()


# Ray's own code warns of its own habits.
pytestmark = pytest.mark.filterwarnings("default")


def examples(users: int, each: int = 20) -> pl.DataFrame:
    """One label per user, told by two features together, noisily."""
    rng = np.random.default_rng(5)
    label = np.zeros((users, each), dtype=np.uint8)
    label[np.arange(users), rng.integers(0, each, users)] = 1
    split = rng.normal(size=label.shape)
    columns = {
        "fold": np.zeros(users * each, dtype=np.uint8),
        "user_id": np.repeat(np.arange(users, dtype=np.int32), each),
        "movie_id": np.tile(np.arange(each, dtype=np.int32), users),
        "sum": (label * 1.5 + split + rng.normal(size=label.shape)).ravel(),
        "part": split.ravel(),
        "noise": rng.normal(size=users * each),
        "label": label.ravel(),
    }
    return pl.DataFrame(columns).with_columns(pl.col("sum", "part", "noise").cast(pl.Float32))


def ndcg(boosters: list, table: pl.DataFrame, cutoff: int = 10) -> float:
    """Mean over users of the one label's gain."""
    features = table.select([c for c in table.columns if c not in KEYS]).to_numpy()
    scores = np.mean([booster.predict(features) for booster in boosters], axis=0)
    place = pl.col("score").rank("ordinal", descending=True).over("user_id")
    ranked = table.with_columns(score=pl.Series(scores)).with_columns(place=place)
    found = ranked.filter(pl.col("label") == 1)["place"].to_numpy()
    return float(np.where(found <= cutoff, 1 / np.log2(found + 1), 0).mean())


@with_ray
def test_a_ranker_of_two_workers_is_as_good_as_one_of_one(two_workers: Path) -> None:
    from stages.cluster_ranker import train_on_ray

    table = examples(4000)
    held = pl.col("user_id") >= 3000
    learnt, later = table.filter(~held), table.filter(held)
    params = Params(0.1, 15, 20, 1.0, 0.8, 1.0, 60, 10, 3, 2, 1)
    options = lightgbm_params(params, "lambdarank", "ndcg", 10, seed=1)
    alone, alone_metric = train(learnt, params, options, seed=1)
    shared, shared_metric = train_on_ray(train, learnt, params, options, seed=1)
    assert len(shared) == len(alone) == 2
    assert shared_metric == pytest.approx(alone_metric, abs=0.02)
    assert ndcg(shared, later) == pytest.approx(ndcg(alone, later), abs=0.02)
    assert ndcg(shared, later) > 0.5  # by chance it would be 0.23
    assert not list((two_workers / "storage" / "training").glob("*"))
    again, _ = train_on_ray(train, learnt, params, options, seed=1)
    assert [trees(b) for b in again] == [trees(b) for b in shared]


def trees(booster: object) -> str:
    """A booster's text without its parameters, among them ports."""
    return booster.model_to_string().partition("\nparameters:")[0]


def retriever(name: str, **changes: object):
    variant = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(variant.Params, f"retrievers.{name}")
    return variant, dataclasses.replace(params, **{**SMALL, **changes})


@with_ray
@pytest.mark.parametrize("name", ["id", LONG_HISTORY])
def test_a_retriever_of_two_workers_learns_as_well(
    name: str,
    two_workers: Path,
    tables: dict,
) -> None:
    from stages.cluster_retrieval import train_on_ray
    from stages.train_retrieval import train

    variant, params = retriever(name)
    alone, alone_made = train(variant, params, tables, LENGTH, 1)
    fitted, made = train_on_ray(train, name, params, tables, LENGTH, 1)
    assert list(made) == ["early", "val", "test"]
    assert len(fitted.curve) == len(alone.curve)
    for one, other in zip(fitted.curve, alone.curve):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.1)
    best = [max(row["ndcg@10"] for row in fit.curve) for fit in (fitted, alone)]
    assert best[0] > 0.7 * best[1] > 0
    for fold, arrays in made.items():
        assert arrays.keys() == alone_made[fold].keys()
        assert all(arrays[k].shape == v.shape for k, v in alone_made[fold].items())
    if name == "history":
        # Each worker has one of the two parts of every batch, as one process would have both.
        assert np.allclose(made["early"]["movie"], alone_made["early"]["movie"], atol=0.02)


def watching_loop(config: dict) -> None:
    """`stages.cluster_retrieval.loop`, which tells the test what happens on each worker."""
    import hashlib

    from stages import cluster_retrieval

    restore = cluster_retrieval.RayWorker.restore
    keep = cluster_retrieval.RayWorker.keep
    log = Path(config["log"])

    def restoring(self, model):
        state = restore(self, model)
        row = [self.file.stem, self.rank, os.getpid(), state.epoch]
        with (log / "starts.txt").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return state

    def keeping(self, model, state):
        keep(self, model, state)
        (log / f"at-{self.rank}.txt").write_text(f"{self.file.stem} {state.epoch} {os.getpid()}")
        text = b"".join(v.tobytes() for v in model.arrays().values())
        name = f"{self.file.stem}-{state.epoch}-{self.rank}.md5"
        (log / name).write_text(hashlib.md5(text).hexdigest())
        time.sleep(config["pause"])

    cluster_retrieval.CHECKPOINT_SECONDS = 0.0
    cluster_retrieval.RayWorker.restore = restoring
    cluster_retrieval.RayWorker.keep = keeping
    inner = {k: v for k, v in config.items() if k not in ("log", "pause")}
    cluster_retrieval.loop(inner)


def run_watched(
    name: str,
    log: Path,
    pause: float,
    tables: dict,
    **changes: object,
):
    from stages import cluster_retrieval, train_retrieval
    from stages.cluster import connect
    from stages.cluster_training import train_on_workers

    _, params = retriever(name, **changes)
    ray = connect()
    config = {
        "train": train_retrieval.train,
        "name": name,
        "params": params,
        "tables": {key: ray.put(table) for key, table in tables.items()},
        "max_length": LENGTH,
        "seed": 1,
        "log": str(log),
        "pause": pause,
    }
    return train_on_workers("tensorflow", watching_loop, config, name, cluster_retrieval.read_fits)


@with_ray
@pytest.mark.long
@pytest.mark.parametrize("name", ["genre", "history"])
def test_all_workers_have_the_same_weights_after_every_epoch(
    name: str,
    two_workers: Path,
    tmp_path: Path,
    tables: dict,
) -> None:
    fitted, _ = run_watched(name, tmp_path, 0, tables, dropout=0.2)
    firsts = sorted(tmp_path.glob("*-0.md5"))
    assert len(firsts) >= len(fitted.curve) + 2
    for path in firsts:
        assert path.read_text() == Path(str(path).replace("-0.md5", "-1.md5")).read_text()


@with_ray
@pytest.mark.long
def test_training_goes_on_from_the_last_checkpoint_when_a_worker_is_killed(
    two_workers: Path,
    tmp_path: Path,
    tables: dict,
) -> None:
    import threading

    killed = []

    def kill() -> None:
        path = tmp_path / "at-1.txt"
        while not killed:
            if path.exists() and len(told := path.read_text().split()) == 3:
                fold, epoch, process = told
                if (fold, int(epoch) >= 2) == ("early", True):
                    killed.append(int(epoch))
                    os.kill(int(process), signal.SIGKILL)
            time.sleep(0.02)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    log = tmp_path
    fitted, made = run_watched("id", log, 0.5, tables, epochs=5, patience=9)
    thread.join(5)
    assert killed
    starts = [json.loads(line) for line in (log / "starts.txt").read_text().splitlines()]
    early = [row for row in starts if row[0] == "early"]
    processes = {row[2] for row in early}
    assert len(processes) == 4, "two workers, and two in their place"
    assert {row[3] for row in early[:2]} == {0}
    assert all(killed[0] - 1 <= row[3] <= killed[0] + 1 for row in early[2:])
    assert all(row[3] >= 1 for row in early[2:]), "not from the start"
    assert [row["epoch"] for row in fitted.curve] == [1, 2, 3, 4, 5]
    # As if nothing had happened.
    whole = tmp_path / "whole"
    whole.mkdir()
    again, again_made = run_watched("id", whole, 0, tables, epochs=5, patience=9)
    assert [row["loss"] for row in again.curve] == pytest.approx(
        [row["loss"] for row in fitted.curve], rel=1e-5
    )
    for fold, arrays in made.items():
        assert all(np.allclose(v, again_made[fold][k], atol=1e-5) for k, v in arrays.items())


@with_ray
@pytest.mark.long
def test_a_worker_that_dies_each_time_is_one_line(two_workers: Path, tmp_path: Path) -> None:
    from stages.cluster_training import train_on_workers

    with pytest.raises(StageError, match=r"^ray\.workers: training x failed 4 times"):
        train_on_workers("lightgbm", dying_loop, {}, "x", lambda folder: folder)


def dying_loop(config: dict) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@with_ray
@pytest.mark.long
def test_the_stages_train_on_ray(tiny_run: Path, limited: None, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    edit_params(folder, engine="ray", retrievers__id__epochs=2, retrievers__id__dimension=8)
    for words in (
        "train_ranker basic --examples data/examples/basic --model data/models/again "
        "--importance-table basic.csv",
        "train_retrieval id --histories data/histories --genres data/movies/genres.parquet "
        "--model data/models/id --curve id.csv",
    ):
        command = [sys.executable, "-m", *f"stages.{words}".split()]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "data" / "models" / "again" / "0.txt").read_text().startswith("tree\n")
    assert len(pl.read_csv(folder / "id.csv")) == 2
    assert (folder / "data" / "models" / "id" / "test.npz").exists()


def test_without_ray_the_choice_of_it_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages import cluster

    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StageError, match=r"^engine: .*requirements-ray\.txt"):
        cluster.import_ray()


def test_a_local_training_does_not_import_ray(tmp_path: Path) -> None:
    code = (
        "import stages.train_retrieval, stages.train_ranker, sys; assert 'ray' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
