"""Measure the seconds and the peak memory of every stage, each in a process of its own.

    python -m benchmarks.run --source /tmp/expanded --work /tmp/run
    python -m benchmarks.run --source /tmp/expanded --work /tmp/run --stages 'clean|positives'
    python -m benchmarks.run --source /tmp/expanded --work /tmp/run --memory 16
    python -m benchmarks.run --source /tmp/expanded --work /tmp/run --short

The repository is cloned into `--work`, unless that exists. There the stages run one after the
other, without DVC: each is the command of dvc.yaml, and its inputs must exist. `--memory` limits
the address space of a stage (`ulimit -v`). `--short` trains one epoch and 20 trees. `ratings/s` is
the number of all ratings of the data set, divided by the seconds. The table is also written to
`--work`/benchmark.csv; a later call replaces the rows of its stages.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import networkx as nx
import polars as pl
from dvc.repo import Repo

from benchmarks.clones import clone
from benchmarks.shorten import shorten
from benchmarks.steps import set_params
from stages.common.files import read_json, write_csv

GIB = 1 << 30


class Cost(NamedTuple):
    """The cost of a process."""

    seconds: float
    gib: float  # largest resident memory


def measure(command: list[str], folder: Path | str, memory_gib: float | None = None) -> Cost:
    """Run a command in `folder`, in at most `memory_gib` of address space; it must succeed."""

    def limit_memory() -> None:
        if memory_gib:
            resource.setrlimit(resource.RLIMIT_AS, (int(memory_gib * GIB),) * 2)

    start_time = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, preexec_fn=limit_memory)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    return Cost(time.perf_counter() - start_time, usage.ru_maxrss * 1024 / GIB)


def stage_commands(folder: Path) -> dict[str, tuple[str, str]]:
    """Return the command and the working directory of every stage, in an order of dependencies."""
    stages = nx.dfs_postorder_nodes(Repo(folder).index.graph)
    return {stage.name: (stage.cmd, stage.wdir) for stage in stages if stage.cmd}


def prepare(source: Path, folder: Path) -> None:
    """Clone the repository into `folder`, unless that is a clone, and set its `data.source`."""
    clone(folder)
    set_params(folder, folder, data={"source": str(source.resolve())})


def main() -> None:
    """Parse the command line, run the stages, and write and print the table."""
    parser = argparse.ArgumentParser(description="Seconds and memory of every stage.")
    parser.add_argument("--source", type=Path, required=True, help="a folder with raw files")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the clone")
    parser.add_argument("--stages", default=".*", help="a regular expression of whole names")
    parser.add_argument("--memory", type=float, help="GiB of address space for each stage")
    parser.add_argument("--short", action="store_true", help="train one epoch and 20 trees")
    options = parser.parse_args()
    prepare(options.source, options.work)
    if options.short:
        shorten(options.work / "params.yaml")
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    path, rows = options.work / "benchmark.csv", {}
    if path.exists():
        rows = {row["stage"]: row for row in pl.read_csv(path).to_dicts()}
    for name, (command, wdir) in stage_commands(options.work).items():
        if re.fullmatch(options.stages, name):
            cost = measure(["env", f"DVC_STAGE={name}", "sh", "-c", command], wdir, options.memory)
            rows[name] = {"stage": name, **cost._asdict()}
            write_csv(pl.DataFrame(list(rows.values())), path)
    ratings = read_json(options.work / "metrics" / "data.json")["ratings"]
    print(f"{ratings:,} ratings\n")
    print("| stage | seconds | GiB | ratings/s |\n| --- | ---: | ---: | ---: |")
    for name, row in rows.items():
        speed = ratings / row["seconds"]
        print(f"| {name} | {row['seconds']:.1f} | {row['gib']:.2f} | {speed:,.0f} |")


if __name__ == "__main__":
    main()
