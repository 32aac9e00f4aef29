"""The stages on a Ray cluster that loses a machine: seconds, and whether the outputs are equal.

    python -m benchmarks.cluster --run . --work /tmp/cluster
    python -m benchmarks.cluster --raw /tmp/expanded --work /tmp/cluster --storage s3://bucket/x

`--run` is a folder with params.yaml and the finished data/ of it, which is only read. `--raw` is a
folder with raw files instead: `draw_run` computes all from them first.

Every stage of `STEPS` runs locally, then on a cluster of a head and two worker nodes with one
processor each, with the command of dvc.yaml; those of `KILL` once more, while one of the nodes is
killed with all its processes. Each output is compared with the local one; of the trainings, which
differ in rounding and order, what they say at their end. Nothing may take longer than `--seconds`.
With `--apart`, as root, the nodes have networks of their own; `--stages` chooses some by name.
"""

import argparse
import re
import shutil
import time
from pathlib import Path

import polars as pl

from benchmarks.nodes import Cluster, cluster
from benchmarks.steps import (
    DATA,
    DRAWN_LISTS,
    ROOT,
    Step,
    chosen_steps,
    draw_run,
    finish,
    link_inputs,
    run,
    set_params,
    start,
    steps,
)

# In their order, as regular expressions of whole names.
LISTS = ("candidates@.*", "fusion", "ranker_data@.*", "rerank@.*")
STEPS = (*DATA, *LISTS, "train_retrieval@.*", "train_ranker@.*")
DRAWN_STEPS = (*DATA, *DRAWN_LISTS, "rerank@hit", "train_retrieval@id", "train_ranker@hit")
KILL = ("time_split", "candidates@history", "rerank@hit", "train_.*")
SETTLE = 0.2  # seconds of work before a node is killed
SETTLE_TRAINING = 10.0  # the same of a training, and after its first checkpoint where it has some


def finding(step: Step, folder: Path) -> str:
    """What a training said at its end, without its seconds."""
    last = (folder / f"{step.name}.log").read_text().splitlines()[-1]
    return last.rpartition("-> ")[2].rpartition(", ")[0]


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
    source, patterns = options.run, STEPS
    if options.raw:
        source = draw_run(options.raw, work / "drawn", every, options.seconds)
        patterns = DRAWN_STEPS
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
