"""Run single stages of dvc.yaml as processes, in a folder of their own.

The folder of a run has params.yaml and data/. `draw_run` creates a small one from raw files; it
draws the vectors of one retriever at random instead of training it.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from dvc.repo import Repo

from benchmarks.nodes import kill_tree
from stages.common.files import write_arrays
from stages.common.params import YAML
from stages.data.snapshots import SNAPSHOTS

ROOT = Path(__file__).resolve().parents[1]
DATA = (
    "positives",
    "time_split",
    "histories",
    "seen",
    "movie_popularity",
    "fit_generator@popularity",
    "fit_generator@popularity_recent",
)
DRAWN_LISTS = ("candidates@history", "fusion", "ranker_data@hit")
# The stages of a drawn run before and after the random vectors.
BEFORE_VECTORS = ("clean", *DATA, "genre_features", "fit_generator@item_knn", "fit_generator@ease")
AFTER_VECTORS = ("embeddings@history", "faiss_index@history", *DRAWN_LISTS, "train_ranker@hit")
SMALL = {
    "candidates": {"count": 50},
    "generators": {"item_knn": {"max_movies": 1000}, "ease": {"max_movies": 1000}},
    "fusion": {"exclude": ["ease", "id", "genre", "hard_negative"]},
    "retrievers": {"id": {"epochs": 4}},
    "lightgbm": {"num_boost_round": 300, "ensemble_size": 1, "nfold": 2},
}


class Step(NamedTuple):
    """A stage of dvc.yaml; inputs and outputs are files and folders below the run's folder."""

    name: str
    command: str
    inputs: list[str]
    outputs: list[str]


def steps(root: Path) -> list[Step]:
    """Return all stages of the repository's dvc.yaml."""
    with Repo(str(root)) as repo:

        def relative_paths(entries: list) -> list[str]:
            paths = [Path(entry.fs_path) for entry in entries if entry.fs_path]
            return [str(path.relative_to(root)) for path in paths]

        return [
            Step(
                s.addressing.removeprefix("dvc.yaml:"),
                s.cmd,
                relative_paths(s.deps),
                relative_paths(s.outs),
            )
            for s in repo.index.stages
            if s.cmd
        ]


def select_steps(patterns: tuple[str, ...], all_steps: list[Step]) -> list[Step]:
    """Return the steps whose names match a pattern, in the order of the patterns."""
    return [s for p in patterns for s in all_steps if re.fullmatch(p, s.name)]


def start(step: Step, folder: Path) -> subprocess.Popen:
    """Start the stage's command in `folder`, with this repository's code and a log file."""
    for output in step.outputs:
        if (folder / output).is_symlink():
            (folder / output).unlink()
    # No shell runs here to put the name of the stage into the command, as under DVC.
    command = shlex.split(step.command.replace("$DVC_STAGE", step.name))
    command[0] = sys.executable
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / f"{step.name}.log").open("w") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stderr=log, start_new_session=True
        )


def finish(process: subprocess.Popen, name: str, start_time: float, limit: float) -> float:
    """Wait for the process to succeed, and return its seconds; after `limit` it is killed."""
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        kill_tree(process)
        raise SystemExit(f"{name}: not done after {limit:.0f} s") from None
    if process.returncode:
        raise SystemExit(f"{name}: ended with {process.returncode}; see {name}.log")
    return time.monotonic() - start_time


def run(step: Step, folder: Path, limit: float) -> float:
    """Run a stage in `folder`, with the backend of its params.yaml; return its seconds."""
    return finish(start(step, folder), step.name, time.monotonic(), limit)


def set_params(folder: Path, source: Path, **changes: Any) -> None:
    """Write the params of `source` into `folder`, with `changes` of keys at any depth."""
    yaml = YAML()
    params = yaml.load(source / "params.yaml")
    _change(params, changes)
    yaml.dump(params, folder / "params.yaml")


def _change(block: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and key in block:
            _change(block[key], value)
        else:
            block[key] = value


def link_inputs(folder: Path, source: Path, selection: list[Step]) -> None:
    """Create links in `folder` to the inputs of the steps that no earlier step writes.

    A later step may write what is linked: `start` removes links at its outputs.
    """
    outputs = {output for step in selection for output in step.outputs}
    written: set[str] = set()
    for step in selection:
        for name in step.inputs:
            if name.startswith("data/"):
                _link(name, folder, source, written, outputs)
        written.update(step.outputs)


def _link(name: str, folder: Path, source: Path, written: set[str], outputs: set[str]) -> None:
    """Link an input that is not `written`; if `outputs` are inside of it, link its entries."""
    if any(name == output or name.startswith(f"{output}/") for output in written):
        return
    if any(output.startswith(f"{name}/") for output in outputs):
        for path in sorted((source / name).iterdir()):
            _link(f"{name}/{path.name}", folder, source, written, outputs)
    elif not (folder / name).exists():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to((source / name).resolve())


def draw_run(
    raw: Path,
    folder: Path,
    all_steps: list[Step],
    limit: float,
    changes: dict[str, Any] = SMALL,
) -> Path:
    """Create the folder of a run from raw files, with one retriever that has learned nothing.

    Args:
        raw: The folder of raw files.
        folder: Is created.
        all_steps: The stages of dvc.yaml.
        limit: Seconds after which a stage is killed.
        changes: Of the repository's params.
    """
    folder.mkdir(parents=True)
    set_params(folder, ROOT, backend="local", **changes)
    (folder / "data").mkdir()
    (folder / "data" / "raw").symlink_to(raw.resolve())
    for step in select_steps(BEFORE_VECTORS, all_steps):
        print(f"drawn run, {step.name}: {run(step, folder, limit):.1f} s", flush=True)
    rng = np.random.default_rng(1)
    for snapshot in SNAPSHOTS:
        users = pl.read_parquet(folder / "data" / "histories" / f"{snapshot}.parquet")["user_id"]
        movies = pl.read_parquet(folder / "data" / "movies" / "catalogue.parquet")["movie_id"]
        arrays = {f"{k}_ids": ids.to_numpy() for k, ids in (("user", users), ("movie", movies))}
        for kind in ("user", "movie"):
            shape = len(arrays[f"{kind}_ids"]), 64
            arrays[kind] = rng.normal(size=shape).astype(np.float32)
        arrays["bias"] = np.zeros(len(movies), dtype=np.float32)
        arrays |= {"fold_in": np.eye(64, dtype=np.float32), "recency": np.array(1.0)}
        model = folder / "data" / "models" / "retrievers" / "history"
        write_arrays(arrays, model / f"{snapshot}.npz")
    for step in select_steps(AFTER_VECTORS, all_steps):
        run(step, folder, limit)
    return folder
