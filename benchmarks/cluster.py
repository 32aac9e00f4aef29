"""The stages on a Ray cluster that loses a machine: seconds, and whether the outputs are equal.

    python -m benchmarks.cluster --run . --work /tmp/cluster
    python -m benchmarks.cluster --raw /tmp/expanded --work /tmp/cluster --storage s3://bucket/x

`--run` is a folder with params.yaml and the finished data/ of it, which is only read. `--raw` is a
folder with raw files instead: all is computed from them here first, small, with vectors drawn at
random in the place of a trained retriever's, and one ranker.

Every stage of `STEPS` runs locally, then on a cluster of a head and two worker nodes with one
processor each, with the command of dvc.yaml; those of `KILL` once more, while one of the nodes is
killed with all its processes. Each output is compared with the local one; of the trainings, which
differ in rounding and order, what they say at their end. Nothing may take longer than `--seconds`.
With `--apart`, as root, the nodes have networks of their own; `--stages` chooses some by name.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from dvc.repo import Repo

from benchmarks.nodes import Cluster, cluster, kill_tree
from stages.common.files import write_arrays
from stages.common.params import YAML
from stages.folds import FOLDS

ROOT = Path(__file__).resolve().parents[1]
STEPS = (  # in their order, as regular expressions of whole names
    "positives",
    "time_split",
    "histories",
    "dislikes",
    "popularity",
    "candidates@.*",
    "fusion",
    "ranker_data@.*",
    "rerank@.*",
)
KILL = ("time_split", "candidates@history", "rerank@hit", "train_.*")
TRAININGS = ("train_retrieval@id", "train_ranker@hit")
DRAWN_STEPS = (*STEPS[:5], "candidates@history", "fusion", "ranker_data@hit", "rerank@hit")
# What `--raw` computes first: up to the retriever whose vectors it draws, and from there on.
BEFORE = ("clean", *STEPS[:5], "genre_features", "item_knn", "ease")
AFTER = ("embeddings@history", "faiss_index@history", *DRAWN_STEPS[5:-1], "train_ranker@hit")
SMALL = {
    "candidates": {"count": 50},
    "item_knn": {"max_movies": 1000},
    "ease": {"max_movies": 1000},
    "fusion": {"generators": ["popularity", "item_knn", "history"]},
    "lightgbm": {"max_trees": 20, "bags": 1, "folds": 2},
}
SETTLE = 0.2  # seconds of work before a node is killed
SETTLE_TRAINING = 10.0  # the same of a training, and after its first checkpoint where it has some


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


def finding(step: Step, folder: Path) -> str:
    """What a training said at its end, without its seconds."""
    last = (folder / f"{step.name}.log").read_text().splitlines()[-1]
    return last.rpartition("-> ")[2].rpartition(", ")[0]


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


def run_killed(step: Step, folder: Path, most: float, nodes: Cluster) -> tuple[float, str]:
    """Seconds of a stage, and when a worker node was killed; another one joins later."""
    began = time.monotonic()
    training = step.name.startswith("train_")
    settle = SETTLE_TRAINING if training else SETTLE
    process = start(step, folder)
    node = since = None
    while process.poll() is None and (node is None or time.monotonic() < since + settle):
        node = nodes.busy()
        if node and not since and time.monotonic() > began + under_way(step, folder, most):
            since = time.monotonic()
        node = node if since else None
        time.sleep(0.02)  # the processors belong to what is measured
    if node is None:
        return finish(process, step.name, began, most), "too quick to be hit"
    nodes.kill_worker(node)
    when = f"a node killed at {time.monotonic() - began:.1f} s"
    if training:  # which goes on with as many workers as it began with
        nodes.add()
    seconds = finish(process, step.name, began, most)
    if not training:
        nodes.add()
    return seconds, when


def under_way(step: Step, folder: Path, most: float) -> float:
    """Seconds that a retriever's training may be at work without a checkpoint; else 0."""
    kept = folder.parent / "shards" / "training"  # empty where the storage is a bucket
    retriever = step.name.startswith("train_retrieval")
    return most / 4 if retriever and not any(kept.glob("*/checkpoint*")) else 0


def files_of(outputs: list[str], folder: Path) -> set[Path]:
    """All files of the outputs, relative to `folder`."""
    found = [path for name in outputs for path in [folder / name, *(folder / name).rglob("*")]]
    return {path.relative_to(folder) for path in found if path.is_file()}


def compare(step: Step, one: Path, other: Path) -> str:
    """`equal bytes`, `equal rows`, or which file is different; of a training, what both said."""
    if step.name.startswith("train_"):
        return f"{finding(step, one)}; Ray: {finding(step, other)}"
    outputs = step.outputs
    names, verdict = files_of(outputs, one), "equal bytes"
    if not names or names != files_of(outputs, other):
        return "DIFFERENT FILES"
    for name in sorted(names):
        if (one / name).read_bytes() == (other / name).read_bytes():
            continue
        if name.suffix != ".parquet" or not pl.read_parquet(one / name).equals(
            pl.read_parquet(other / name)
        ):
            return f"DIFFERENT: {name}"
        verdict = "equal rows"
    return verdict


def set_params(folder: Path, source: Path, **sections: object) -> None:
    """Write `source`'s params into `folder`, with these top-level keys or keys of blocks."""
    yaml = YAML()
    params = yaml.load(source / "params.yaml")
    for key, value in sections.items():
        params[key] = {**params.get(key, {}), **value} if isinstance(value, dict) else value
    yaml.dump(params, folder / "params.yaml")


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


def main() -> None:
    """Parse the command line, run everything, print the table."""
    parser = argparse.ArgumentParser(description="The stages on a cluster that loses a machine.")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--run", type=Path, help="a folder with params.yaml and a finished data/")
    given.add_argument("--raw", type=Path, help="a folder with raw files")
    parser.add_argument("--work", type=Path, required=True, help="a folder to make")
    parser.add_argument("--storage", help="`ray.storage`; otherwise a folder of --work")
    parser.add_argument("--stages", default=".*", help="a regular expression of whole names")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=600, help="the most for one stage")
    parser.add_argument("--apart", action="store_true", help="a network for each node")
    options = parser.parse_args()
    every, work = steps(ROOT), options.work.resolve()
    local, away = work / "local", work / "ray"
    for folder in (local, away):
        (folder / "metrics").mkdir(parents=True)
    source, patterns = options.run, (*STEPS, *TRAININGS)
    if options.raw:
        source = draw_run(options.raw, work / "drawn", every, options.seconds)
        patterns = (*DRAWN_STEPS, *TRAININGS)
    wanted = [s for s in chosen_steps(patterns, every) if re.fullmatch(options.stages, s.name)]
    storage = options.storage or str(work / "shards")
    rows = []
    with cluster(work, 2, options.apart) as nodes:
        place = {
            "address": nodes.address,
            "storage": storage,
            "shards": options.shards,
            "workers": 2,
        }
        set_params(local, source, engine="local")
        set_params(away, source, engine="ray", ray=place)
        for folder in (local, away):
            link_inputs(folder, source, wanted)
        for step in wanted:
            here = run(step, local, options.seconds)
            there = run(step, away, options.seconds)
            rows.append((step.name, here, there, compare(step, local, away)))
            print(rows[-1], flush=True)
            if not any(re.fullmatch(pattern, step.name) for pattern in KILL):
                continue
            for output in step.outputs:
                shutil.rmtree(away / output, ignore_errors=True)
            seconds, when = run_killed(step, away, options.seconds, nodes)
            rows.append((f"{step.name}, {when}", here, seconds, compare(step, local, away)))
            print(rows[-1], flush=True)
    print("\n| stage | local, s | Ray, s | outputs |\n| --- | ---: | ---: | --- |")
    for name, here, there, verdict in rows:
        print(f"| {name} | {here:.1f} | {there:.1f} | {verdict} |")
    if any(verdict.startswith("DIFFERENT") for *_, verdict in rows):
        raise SystemExit("outputs differ")


if __name__ == "__main__":
    main()
