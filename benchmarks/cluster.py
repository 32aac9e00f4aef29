"""Time the stages on a Ray cluster that loses a machine, and compare their outputs.

    python -m benchmarks.cluster --run . --work /tmp/cluster
    python -m benchmarks.cluster --raw /tmp/expanded --work /tmp/cluster --storage s3://bucket/x

`--run` is a folder with params.yaml and a finished data/, which is only read. `--raw` is a folder
with raw files, from which `draw_run` computes such a run first.

Every stage of `STEPS` runs locally, then, with the command of dvc.yaml, on a cluster of a head and
two worker nodes with one processor each. The stages of `KILL_STEPS` run once more, while one of the
nodes is killed with all its processes. Each output is compared with the local one. Trainings differ
in rounding and order, so the summaries that they print are shown side by side. `--seconds` limits
the time of a stage. With `--apart`, as root, each node has its own network; `--stages` selects
stages by name.
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
    draw_run,
    finish,
    link_inputs,
    run,
    select_steps,
    set_params,
    start,
    steps,
)

# In the order of their runs, as regular expressions of whole names.
LISTS = ("candidates@.*", "fusion", "ranker_data@.*", "rerank@.*")
STEPS = (*DATA, *LISTS, "train_retrieval@.*", "train_ranker@.*")
DRAWN_STEPS = (*DATA, *DRAWN_LISTS, "rerank@hit", "train_retrieval@id", "train_ranker@hit")
KILL_STEPS = ("time_split", "candidates@history", "rerank@hit", "train_.*")
SECONDS_BEFORE_KILL = 0.2  # of work
# For trainings; for retrievers, counted from the first checkpoint.
TRAINING_SECONDS_BEFORE_KILL = 10.0


def training_summary(step: Step, folder: Path) -> str:
    """Return the summary that a training printed at its end, without its seconds."""
    last_line = (folder / f"{step.name}.log").read_text().splitlines()[-1]
    return last_line.rpartition("-> ")[2].rpartition(", ")[0]


def run_and_kill(step: Step, folder: Path, limit: float, nodes: Cluster) -> tuple[float, str]:
    """Run a stage, and kill a worker node meanwhile; another node joins afterwards.

    Returns:
        The seconds of the stage, and when the node was killed.
    """
    start_time = time.monotonic()
    is_training = step.name.startswith("train_")
    delay = TRAINING_SECONDS_BEFORE_KILL if is_training else SECONDS_BEFORE_KILL
    process = start(step, folder)
    node = busy_since = None
    while process.poll() is None and (node is None or time.monotonic() < busy_since + delay):
        node = nodes.busy_worker()
        earliest = start_time + checkpoint_wait(step, folder, limit)
        if node and not busy_since and time.monotonic() > earliest:
            busy_since = time.monotonic()
        node = node if busy_since else None
        time.sleep(0.02)  # leaves the processors to the stage
    if node is None:
        return finish(process, step.name, start_time, limit), "too fast to be killed"
    nodes.kill_worker(node)
    when = f"a node killed at {time.monotonic() - start_time:.1f} s"
    if is_training:  # it only continues with as many workers as before
        nodes.add_worker()
    seconds = finish(process, step.name, start_time, limit)
    if not is_training:
        nodes.add_worker()
    return seconds, when


def checkpoint_wait(step: Step, folder: Path, limit: float) -> float:
    """Return the seconds to wait for a checkpoint of a retriever; 0 once there is one."""
    trainings = folder.parent / "shards" / "training"  # empty where the storage is a bucket
    is_retriever = step.name.startswith("train_retrieval")
    return limit / 4 if is_retriever and not any(trainings.glob("*/checkpoint*")) else 0


def list_files(outputs: list[str], folder: Path) -> set[Path]:
    """Return the paths, relative to `folder`, of all files of the outputs."""
    paths = [path for name in outputs for path in [folder / name, *(folder / name).rglob("*")]]
    return {path.relative_to(folder) for path in paths if path.is_file()}


def remove(path: Path) -> None:
    """Remove an output, a file or a folder."""
    if path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def compare(step: Step, local: Path, ray: Path) -> str:
    """Return `equal bytes`, `equal rows` or the name of a different file.

    For a training, return both summaries.
    """
    if step.name.startswith("train_"):
        return f"{training_summary(step, local)}; Ray: {training_summary(step, ray)}"
    names, verdict = list_files(step.outputs, local), "equal bytes"
    if not names or names != list_files(step.outputs, ray):
        return "DIFFERENT FILES"
    for name in sorted(names):
        if (local / name).read_bytes() == (ray / name).read_bytes():
            continue
        if name.suffix != ".parquet" or not pl.read_parquet(local / name).equals(
            pl.read_parquet(ray / name)
        ):
            return f"DIFFERENT: {name}"
        verdict = "equal rows"
    return verdict


def main() -> None:
    """Parse the command line, run everything, print the table."""
    parser = argparse.ArgumentParser(description="The stages on a cluster that loses a machine.")
    source_option = parser.add_mutually_exclusive_group(required=True)
    source_option.add_argument("--run", type=Path, help="a folder with params.yaml and data/")
    source_option.add_argument("--raw", type=Path, help="a folder with raw files")
    parser.add_argument("--work", type=Path, required=True, help="a folder to create")
    parser.add_argument("--storage", help="`ray.storage`; by default a folder of --work")
    parser.add_argument("--stages", default=".*", help="a regular expression of whole names")
    parser.add_argument("--shards", type=int, default=16, help="`ray.shards` (16)")
    parser.add_argument("--seconds", type=float, default=600, help="the limit of one stage")
    parser.add_argument("--apart", action="store_true", help="a network for each node")
    options = parser.parse_args()
    all_steps, work = steps(ROOT), options.work.resolve()
    local, ray = work / "local", work / "ray"
    for folder in (local, ray):
        (folder / "metrics").mkdir(parents=True)
    source, patterns = options.run, STEPS
    if options.raw:
        source = draw_run(options.raw, work / "drawn", all_steps, options.seconds)
        patterns = DRAWN_STEPS
    selection = [
        s for s in select_steps(patterns, all_steps) if re.fullmatch(options.stages, s.name)
    ]
    storage = options.storage or str(work / "shards")
    rows = []
    with cluster(work, 2, options.apart) as nodes:
        ray_params = {
            "address": nodes.address,
            "storage": storage,
            "shards": options.shards,
            "workers": 2,
        }
        set_params(local, source, backend="local")
        set_params(ray, source, backend="ray", ray=ray_params)
        for folder in (local, ray):
            link_inputs(folder, source, selection)
        for step in selection:
            local_seconds = run(step, local, options.seconds)
            ray_seconds = run(step, ray, options.seconds)
            rows.append((step.name, local_seconds, ray_seconds, compare(step, local, ray)))
            print(rows[-1], flush=True)
            if not any(re.fullmatch(pattern, step.name) for pattern in KILL_STEPS):
                continue
            for output in step.outputs:
                remove(ray / output)
            seconds, when = run_and_kill(step, ray, options.seconds, nodes)
            name = f"{step.name}, {when}"
            rows.append((name, local_seconds, seconds, compare(step, local, ray)))
            print(rows[-1], flush=True)
    print("\n| stage | local, s | Ray, s | outputs |\n| --- | ---: | ---: | --- |")
    for name, local_seconds, ray_seconds, verdict in rows:
        print(f"| {name} | {local_seconds:.1f} | {ray_seconds:.1f} | {verdict} |")
    if any(verdict.startswith("DIFFERENT") for *_, verdict in rows):
        raise SystemExit("outputs differ")


if __name__ == "__main__":
    main()
