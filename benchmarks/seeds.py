"""Run the committed pipeline with several seeds: means, spread, and significant differences.

    python -m benchmarks.seeds --work /tmp/seeds --seeds 42 43 44
    python -m benchmarks.seeds --work /tmp/seeds-1m --set data.source=/path/to/ml-1m-seq

Each seed runs in a clone of its own below `--work`; in an existing clone of the same commit, only
what is stale runs. Each user's metrics are averaged over the seeds before systems are compared, and
the bootstrap samples users, as in `stages.leaderboard`.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.clones import clone
from benchmarks.tables import header
from stages.common.systems import FUSION, generator_names, system_names
from stages.evaluation.accuracy import MAIN_CUTOFFS, MAIN_METRICS
from stages.evaluation.metrics import user_metrics
from stages.leaderboard import intervals

RESAMPLES = 2000
UNLIMITED = 2**31
# First and last number of positives of the movies that `genre_rows` measures together.
POSITIVES_RANGES = [(1, 10), (11, 100), (1, 100), (101, 1000), (1001, UNLIMITED)]


def run(folder: Path, settings: list[str]) -> float:
    """Run the pipeline in a clone of the repository, and return the seconds."""
    clone(folder)
    options = [part for setting in settings for part in ("-S", setting)]
    start_time = time.perf_counter()
    with (folder / "run.log").open("w") as log:
        command = [sys.executable, "-m", "dvc", "exp", "run", *options]
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)
    return time.perf_counter() - start_time


def read_ranks(folder: Path, system: str) -> pl.DataFrame:
    """Read the RANKS of a system from the clone in `folder`."""
    return pl.read_parquet(folder / "data" / "ranks" / f"{system}.parquet")


def mean_user_metrics(
    folders: list[Path], system: str, positives: tuple[int, int] = (0, UNLIMITED)
) -> pl.DataFrame:
    """Return each user's metrics, averaged over the seeds.

    Only targets count whose movie has a number of `positives` between these two, both included.
    """
    tables = [
        user_metrics(
            read_ranks(folder, system).filter(pl.col("positives").is_between(*positives)),
            MAIN_CUTOFFS,
        )
        for folder in folders
    ]
    return pl.concat(tables).group_by("user_id").agg(pl.col(MAIN_METRICS).mean()).sort("user_id")


def difference_cell(row: dict[str, float]) -> str:
    """Format a difference, its interval, and a star if the difference is significant."""
    star = "*" if row["significant"] else ""
    return f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}){star}"


def genre_rows(folders: list[Path]) -> list[str]:
    """Compare `genre` with `id`, by the number of positives that the target's movie has."""
    lines = [header("positives, metric", ["targets", "id", "genre", "difference"])]
    for bounds in POSITIVES_RANGES:
        tables = {name: mean_user_metrics(folders, name, bounds) for name in ("id", "genre")}
        count = tables["id"].height
        if not count:
            continue
        first, last = bounds
        label = f"{first}-{last}" if last < UNLIMITED else f"{first}+"
        for row in intervals(tables, ["id"], RESAMPLES, seed=0).to_dicts():
            metric = row["metric"]
            means = " | ".join(f"{table[metric].mean():.4f}" for table in tables.values())
            lines.append(f"| {label}, {metric} | {count} | {means} | {difference_cell(row)} |")
    return lines


def mean_rows(folders: list[Path], systems: list[str]) -> list[str]:
    """Return the mean and the standard deviation of every system's metrics over the seeds."""
    boards = [json.loads((f / "metrics" / "leaderboard.json").read_text()) for f in folders]
    lines = [header("system", MAIN_METRICS)]
    for system in systems:
        rows = np.array([[board[system][metric] for metric in MAIN_METRICS] for board in boards])
        spread = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(len(MAIN_METRICS))
        cells = [f"{mean:.4f} ± {sd:.4f}" for mean, sd in zip(rows.mean(axis=0), spread)]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return lines


def report(folders: list[Path], seconds: list[float]) -> str:
    """Return tables of the means over the seeds, and of the differences between systems."""
    with contextlib.chdir(folders[0]):  # all clones have the same blocks of params.yaml
        systems, generators = system_names(), generator_names()
    minutes = ", ".join(f"{s / 60:.1f}" for s in seconds)
    lines = [f"{len(folders)} seeds; mean and standard deviation. Minutes a run: {minutes}.", ""]
    lines += mean_rows(folders, systems)
    tables = {system: mean_user_metrics(folders, system) for system in systems}
    best = max(generators, key=lambda name: tables[name]["ndcg@10"].mean())
    differences = intervals(tables, [best], RESAMPLES, seed=0)
    title = f"Difference to `{best}`, the best generator (95% interval; * = significant):"
    lines += ["", title, "", header("system", MAIN_METRICS)]
    for (system,), rows in differences.group_by("system", maintain_order=True):
        lines.append(f"| {system} | " + " | ".join(map(difference_cell, rows.to_dicts())) + " |")
    recall = np.mean([read_ranks(folder, FUSION)["rank"].gt(0).mean() for folder in folders])
    lines += ["", f"{recall:.1%} of the targets are among the merged candidates.", ""]
    return "\n".join([*lines, *genre_rows(folders)])


def main() -> None:
    """Parse the command line, run every seed, and print the report."""
    parser = argparse.ArgumentParser(description="Run the pipeline with several seeds.")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the clones")
    seeds = [42, 43, 44]
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=seeds, help="of the runs (42 43 44)"
    )
    parser.add_argument("--set", action="append", default=[], help="a param, as in dvc exp run -S")
    options = parser.parse_args()
    folders = [options.work / str(seed) for seed in options.seeds]
    seconds = [run(f, [f"seed={s}", *options.set]) for f, s in zip(folders, options.seeds)]
    print(report(folders, seconds))


if __name__ == "__main__":
    main()
