"""The committed pipeline under several seeds: means, spread, and which differences are real.

    python -m benchmarks.seeds --work /tmp/seeds --seeds 42 43 44
    python -m benchmarks.seeds --work /tmp/seeds-1m --set data.source=/path/to/ml-1m-seq

Each seed runs in a clone of its own below `--work`. A run that is there already is only brought
up to date. Differences are of each user's metrics averaged over the seeds, and users are drawn
anew for the intervals, as in `stages.leaderboard`.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.ablation import header, line
from stages.common.params import YAML
from stages.leaderboard import intervals
from stages.metrics import COMPARED, user_metrics

RESAMPLES = 2000


def run(folder: Path, settings: list[str]) -> float:
    """Clone the repository into `folder` if it is not there, and run it; seconds."""
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    options = [part for setting in settings for part in ("-S", setting)]
    started = time.perf_counter()
    with (folder / "run.log").open("w") as log:
        command = [sys.executable, "-m", "dvc", "exp", "run", *options]
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)
    return time.perf_counter() - started


def averaged(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """The mean over the seeds of each user's metrics."""
    return pl.concat(tables).group_by("user_id").agg(pl.col(COMPARED).mean()).sort("user_id")


def by_likings(folders: list[Path], retrievers: list[str]) -> str:
    """A table of the retrievers' recall by the number of likings that the target had."""
    order = ["0", "1-10", "11-100", "101-1000", "1001+"]
    metrics = ["recall@10", "recall@50", "recall@200"]
    read = {
        name: pl.concat(
            pl.read_csv(f / f"metrics/slices/{name}.csv", schema_overrides={"value": pl.String})
            for f in folders
        )
        .filter(pl.col("slice") == "target_likings")
        .group_by("value")
        .agg(pl.col("users", *metrics).mean())
        for name in retrievers
    }
    lines = [header("likings, retriever", ["targets", *metrics])]
    for value in order:
        for name, table in read.items():
            for users, *figures in table.filter(pl.col("value") == value).drop("value").rows():
                lines.append(line(f"{value}, {name} | {users:.0f}", figures))
    return "\n".join(lines)


def report(folders: list[Path], seconds: list[float]) -> str:
    """A table of means and standard deviations over the seeds, and one of differences."""
    params = YAML(typ="safe", pure=True).load(folders[0] / "params.yaml")
    systems, retrievers = params["leaderboard"]["systems"], params["leaderboard"]["retrievers"]
    boards = [json.loads((f / "metrics" / "leaderboard.json").read_text()) for f in folders]
    lines = [f"{len(folders)} seeds; mean and standard deviation. ", ""]
    lines[0] += "Minutes a run: " + ", ".join(f"{s / 60:.1f}" for s in seconds) + "."
    lines.append(header("system", COMPARED))
    for system in systems:
        rows = np.array([[board[system][metric] for metric in COMPARED] for board in boards])
        spread = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(len(COMPARED))
        cells = [f"{mean:.4f} ± {sd:.4f}" for mean, sd in zip(rows.mean(axis=0), spread)]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    per_user = {
        system: averaged(
            [
                user_metrics(pl.read_parquet(f / f"data/ranks/{system}.parquet"), [10, 200])
                for f in folders
            ]
        )
        for system in systems
    }
    best = max(retrievers, key=lambda name: per_user[name]["ndcg@10"].mean())
    table = intervals(per_user, [best], RESAMPLES, seed=0)
    lines += [
        "",
        f"Difference to `{best}`, the best retriever (95% interval; * = not by chance):",
        "",
    ]
    lines.append(header("system", COMPARED))
    for (system,), rows in table.group_by("system", maintain_order=True):
        cells = [
            f"{d:+.4f} ({low:+.4f} to {high:+.4f}){'*' if real else ''}"
            for d, low, high, real in rows.select("difference", "low", "high", "real").rows()
        ]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    pool = [pl.read_parquet(f / "data/ranks/fusion.parquet")["rank"].gt(0).mean() for f in folders]
    lines += ["", f"Targets among the candidates that rankers see: {np.mean(pool):.1%}.", ""]
    lines.append(by_likings(folders, retrievers))
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description="Run the pipeline under several seeds.")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the clones")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--set", action="append", default=[], help="a param, as in dvc exp run -S")
    chosen = parser.parse_args()
    folders = [chosen.work / str(seed) for seed in chosen.seeds]
    seconds = [run(f, [f"seed={s}", *chosen.set]) for f, s in zip(folders, chosen.seeds)]
    print(report(folders, seconds))


if __name__ == "__main__":
    main()
