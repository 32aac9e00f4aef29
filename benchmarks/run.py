"""Seconds and peak memory of every stage on a data set, from one process per stage.

    python -m benchmarks.run --source /tmp/expanded --work /tmp/run
    python -m benchmarks.run --source /tmp/expanded --work /tmp/run --stages 'clean|positives'
    python -m benchmarks.run --source /tmp/expanded --work /tmp/run --memory 16

The pipeline is cloned into `--work`, unless it is there already, and its stages run there in their
order, without DVC around them: each as the command in dvc.yaml, with all its inputs in place. With
`--memory` a stage may have so many GiB of address space (`ulimit -v`). `ratings/s` is of the whole
data set. The table goes to `--work`/benchmark.csv too; a later call renews the rows of its stages.
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

from benchmarks.steps import set_params
from stages.common.files import read_json, write_csv

GIB = 1 << 30


class Cost(NamedTuple):
    """Of one process."""

    seconds: float
    gib: float  # the most that was in memory at once


def cost_of(command: list[str], folder: Path | str, most_gib: float | None = None) -> Cost:
    """Run a command in `folder` and wait for it; it must succeed, within so much address space."""

    def limit() -> None:
        if most_gib:
            resource.setrlimit(resource.RLIMIT_AS, (int(most_gib * GIB),) * 2)

    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, preexec_fn=limit)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    return Cost(time.perf_counter() - started, used.ru_maxrss * 1024 / GIB)


def commands(folder: Path) -> dict[str, tuple[str, str]]:
    """The command and the folder of every stage by its name, in an order in which they can run."""
    repo = Repo(folder)
    return {s.name: (s.cmd, s.wdir) for s in nx.dfs_postorder_nodes(repo.index.graph) if s.cmd}


def prepare(source: Path, folder: Path) -> None:
    """A clone of the repository whose data is that of `source`."""
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    set_params(folder, folder, data={"source": str(source.resolve())})


def main() -> None:
    """Parse the command line, run the stages, write and print the table."""
    parser = argparse.ArgumentParser(description="Seconds and memory of every stage.")
    parser.add_argument("--source", type=Path, required=True, help="a folder with raw files")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the clone")
    parser.add_argument("--stages", default=".*", help="a regular expression of whole names")
    parser.add_argument("--memory", type=float, help="GiB of address space for each stage")
    chosen = parser.parse_args()
    prepare(chosen.source, chosen.work)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    path, rows = chosen.work / "benchmark.csv", {}
    if path.exists():
        rows = {row["stage"]: row for row in pl.read_csv(path).to_dicts()}
    for name, (command, wdir) in commands(chosen.work).items():
        if re.fullmatch(chosen.stages, name):
            cost = cost_of(["sh", "-c", command], wdir, chosen.memory)
            rows[name] = {"stage": name, **cost._asdict()}
            write_csv(pl.DataFrame(list(rows.values())), path)
    ratings = read_json(chosen.work / "metrics" / "data.json")["ratings"]
    print(f"{ratings:,} ratings\n")
    print("| stage | seconds | GiB | ratings/s |\n| --- | ---: | ---: | ---: |")
    for name, row in rows.items():
        speed = ratings / row["seconds"]
        print(f"| {name} | {row['seconds']:.1f} | {row['gib']:.2f} | {speed:,.0f} |")


if __name__ == "__main__":
    main()
