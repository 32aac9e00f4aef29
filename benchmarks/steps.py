"""Stages of dvc.yaml as single processes in a folder of their own, for trials of them.

A run's folder is one with params.yaml and data/; `draw_run` makes a small one of raw files, with
vectors drawn at random in the place of a trained retriever's.
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
from stages.folds import FOLDS

ROOT = Path(__file__).resolve().parents[1]
DATA = ("positives", "time_split", "histories", "dislikes", "popularity")
DRAWN_LISTS = ("candidates@history", "fusion", "ranker_data@hit")
# What a drawn run computes first: up to the retriever whose vectors it draws, and from there on.
BEFORE = ("clean", *DATA, "genre_features", "item_knn", "ease")
AFTER = ("embeddings@history", "faiss_index@history", *DRAWN_LISTS, "train_ranker@hit")
SMALL = {
    "candidates": {"count": 50},
    "item_knn": {"max_movies": 1000},
    "ease": {"max_movies": 1000},
    "fusion": {"generators": ["popularity", "item_knn", "history"]},
    "retrievers": {"id": {"epochs": 4}},
    "lightgbm": {"max_trees": 300, "bags": 1, "folds": 2},
}


class Step(NamedTuple):
    """A stage as dvc.yaml has it; outputs are files and folders below the run's folder."""

    name: str
    command: str
    inputs: list[str]
    outputs: list[str]


def steps(root: Path) -> list[Step]:
    """All stages of the repository's dvc.yaml."""
    with Repo(str(root)) as repo:

        def inside(things: list) -> list[str]:
            paths = [Path(thing.fs_path) for thing in things if thing.fs_path]
            return [str(path.relative_to(root)) for path in paths]

        return [
            Step(s.addressing.removeprefix("dvc.yaml:"), s.cmd, inside(s.deps), inside(s.outs))
            for s in repo.index.stages
            if s.cmd
        ]


def chosen_steps(patterns: tuple[str, ...], every: list[Step]) -> list[Step]:
    """Those whose names match, in the order of the patterns."""
    return [s for p in patterns for s in every if re.fullmatch(p, s.name)]


def start(step: Step, folder: Path) -> subprocess.Popen:
    """Run the stage's command in `folder`, with this repository's code; its words go to a file."""
    command = [sys.executable, *shlex.split(step.command)[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / f"{step.name}.log").open("w") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stderr=log, start_new_session=True
        )


def finish(process: subprocess.Popen, name: str, started: float, most: float) -> float:
    """Seconds until the process had ended well; it is killed after the `most`."""
    try:
        process.wait(most)
    except subprocess.TimeoutExpired:
        kill_tree(process)
        raise SystemExit(f"{name}: not done after {most:.0f} s") from None
    if process.returncode:
        raise SystemExit(f"{name}: ended with {process.returncode}; see {name}.log")
    return time.monotonic() - started


def run(step: Step, folder: Path, most: float) -> float:
    """Seconds of a stage in `folder`, with what `engine` says there."""
    return finish(start(step, folder), step.name, time.monotonic(), most)


def set_params(folder: Path, source: Path, **changes: Any) -> None:
    """Write `source`'s params into `folder`, with other values of these keys, at any depth."""
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


def link_inputs(folder: Path, source: Path, wanted: list[Step]) -> None:
    """Links in `folder` to all that the stages read and none of them writes."""
    made = [output for step in wanted for output in step.outputs]
    for name in {name for step in wanted for name in step.inputs if name.startswith("data/")}:
        if any(name == m or name.startswith(f"{m}/") or m.startswith(f"{name}/") for m in made):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).symlink_to((source / name).resolve())


def draw_run(raw: Path, folder: Path, every: list[Step], most: float) -> Path:
    """A run's folder made of raw files, with one retriever that has learnt nothing."""
    folder.mkdir(parents=True)
    set_params(folder, ROOT, engine="local", **SMALL)
    (folder / "data").mkdir()
    (folder / "data" / "raw").symlink_to(raw.resolve())
    for step in chosen_steps(BEFORE, every):
        print(f"drawn run, {step.name}: {run(step, folder, most):.1f} s", flush=True)
    rng = np.random.default_rng(1)
    for fold in FOLDS:
        users = pl.read_parquet(folder / "data" / "histories" / f"{fold}.parquet")["user_id"]
        movies = pl.read_parquet(folder / "data" / "movies" / "catalogue.parquet")["movie_id"]
        arrays = {f"{k}_ids": ids.to_numpy() for k, ids in (("user", users), ("movie", movies))}
        for kind in ("user", "movie"):
            shape = len(arrays[f"{kind}_ids"]), 64
            arrays[kind] = rng.normal(size=shape).astype(np.float32)
        arrays["bias"] = np.zeros(len(movies), dtype=np.float32)
        write_arrays(arrays, folder / "data" / "models" / "history" / f"{fold}.npz")
    for step in chosen_steps(AFTER, every):
        run(step, folder, most)
    return folder
