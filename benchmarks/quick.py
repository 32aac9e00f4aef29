"""Compare the seconds of the most important steps with those of an earlier commit, in minutes.

    make bench-quick baseline=1   # at the commit to compare with
    make bench-quick              # after the change

The steps are stages and a call of `benchmarks.serving`, on MovieLens 100K with one retriever that
has learned nothing (`benchmarks.steps.draw_run`). A figure is the least of `--repeats` rounds, each
of all steps, in CPU seconds of all cores, which depend less on other work of the machine than the
seconds of a clock. A fixed piece of work is measured beside the steps: the ratios are divided by
its own, so that a machine that is slower today slows no step down.

The baseline is `--work`/baseline.json. It counts for the machine that it was measured on.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import processor
from benchmarks.steps import ROOT, Step, draw_run, run, select_steps, steps
from stages.common.files import read_json, write_json
from stages.common.stage import StageError

RAW, WORK = Path("data") / "raw", Path("benchmarks") / "out" / "quick"
STAGES = (
    "clean",
    "histories",
    "fit_generator@item_knn",
    "candidates@history",
    "fusion",
    "ranker_data@hit",
    "train_ranker@hit",
    "rerank@hit",
    "train_retrieval@id",
)
SERVING, REFERENCE = "serving", "fixed work"
CHANGES = {
    "fusion": {"exclude": ["popularity", "popularity_recent", "id", "genre", "hard_negative"]},
    "lightgbm": {"num_boost_round": 60, "early_stopping_rounds": 60, "nfold": 2},
    "retrievers": {"id": {"epochs": 2}},
    "export": {"ranker": "hit"},
}
LIMIT = 300.0  # seconds of a step
SLOWER = 1.15  # a ratio that is worth a look; two runs of one commit differ by less


class Cost(NamedTuple):
    """Seconds of a step."""

    cpu: float  # of all cores
    wall: float


def measure(function: Any, *arguments: Any) -> Cost:
    """Return the cost of a call, with that of the processes that it waits for."""
    start, before = time.perf_counter(), os.times()
    function(*arguments)
    after, wall = os.times(), time.perf_counter() - start
    return Cost(sum(after[:4]) - sum(before[:4]), wall)


def fixed_work() -> None:
    """Sort and multiply arrays that are always the same."""
    values = np.random.default_rng(0).random((6_000_000,))
    for _ in range(10):
        np.sort(values)
        np.bincount((values * 100_000).astype(np.int64))


def serve(folder: Path) -> None:
    """Recommend to people one by one, and to all users, from the bundle of the run."""
    command = [sys.executable, "-m", "benchmarks.serving", "--bundle", folder / "data" / "bundle"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        raise SystemExit(f"{SERVING}: ended with {done.returncode}: {done.stderr[-500:]}")


def least(rounds: list[dict[str, Cost]]) -> dict[str, Cost]:
    """Return the least seconds of each step in any round."""
    return {
        name: Cost(*(min(values) for values in zip(*(costs[name] for costs in rounds))))
        for name in rounds[0]
    }


def ratios(costs: dict[str, Cost], baseline: dict[str, float]) -> dict[str, float]:
    """Return the CPU seconds of each step, relative to the baseline and to the fixed work.

    A step that the baseline lacks has no ratio.

    Args:
        costs: The cost of each step and of `REFERENCE`.
        baseline: CPU seconds by step.
    """
    machine = costs[REFERENCE].cpu / baseline[REFERENCE]
    return {
        name: cost.cpu / baseline[name] / (machine if name != REFERENCE else 1)
        for name, cost in costs.items()
        if name in baseline
    }


def table(costs: dict[str, Cost], baseline: dict[str, float]) -> list[str]:
    """Return the lines of the table; without a baseline, the last columns are empty."""
    compared = ratios(costs, baseline) if baseline else {}
    lines = ["| step | wall s | CPU s | baseline | ratio | |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | --- |")
    for name, cost in costs.items():
        cells = [name, f"{cost.wall:.2f}", f"{cost.cpu:.2f}", "", "", ""]
        if name in compared:
            mark = "slower" if compared[name] > SLOWER and name != REFERENCE else ""
            cells[3:] = [f"{baseline[name]:.2f}", f"{compared[name]:.2f}", mark]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def read_baseline(path: Path, machine: str) -> dict[str, float]:
    """Return the CPU seconds of each step in the file; none if there is no file.

    Raises:
        SystemExit: They were measured on another machine.
    """
    if not path.exists():
        return {}
    try:
        stored = read_json(path)
    except StageError:
        raise SystemExit(f"{path}: cannot be read; delete it") from None
    if stored["machine"] != machine:
        raise SystemExit(f"{path}: is of {stored['machine']}; delete it, or run with baseline=1")
    print(f"Baseline: {stored['commit']}")
    return stored["cpu"]


def measure_round(folder: Path, selection: list[Step]) -> dict[str, Cost]:
    """Measure all steps once."""
    costs = {REFERENCE: measure(fixed_work)}
    for step in selection:
        costs[step.name] = measure(run, step, folder, LIMIT)
    return costs | {SERVING: measure(serve, folder)}


def main() -> None:
    """Draw a run, measure its steps, and print or store their seconds."""
    parser = argparse.ArgumentParser(description="Seconds of important steps, beside a baseline.")
    parser.add_argument("--raw", type=Path, default=RAW, help=f"raw files ({RAW})")
    parser.add_argument("--work", type=Path, default=WORK, help=f"a folder to work in ({WORK})")
    parser.add_argument("--repeats", type=int, default=2, help="rounds of all steps (2)")
    parser.add_argument("--baseline", action="store_true", help="store the baseline")
    options = parser.parse_args()
    if not options.raw.is_dir():
        raise SystemExit(f"{options.raw}: not found; run `dvc repro download`, or give --raw")
    if options.repeats < 1:
        raise SystemExit("--repeats: give 1 or more")
    machine, path = processor(), options.work / "baseline.json"
    baseline = {} if options.baseline else read_baseline(path, machine)
    folder, all_steps = options.work / "run", steps(ROOT)
    shutil.rmtree(folder, ignore_errors=True)
    draw_run(options.raw, folder, all_steps, LIMIT, CHANGES)
    for step in select_steps(("rerank@hit", "export"), all_steps):
        run(step, folder, LIMIT)
    selection = select_steps(STAGES, all_steps)
    costs = least([measure_round(folder, selection) for _ in range(options.repeats)])
    print("\n".join(["", *table(costs, baseline)]))
    if options.baseline:
        describe = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True).stdout.strip()
        cpu = {name: cost.cpu for name, cost in costs.items()}
        write_json({"machine": machine, "commit": commit, "cpu": cpu}, path)
        print(f"\n{path}: stored")
    elif not baseline:
        print(f"\n{path}: not found, so there is no ratio; store one with baseline=1")


if __name__ == "__main__":
    main()
