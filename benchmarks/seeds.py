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

from benchmarks.ablation import header
from stages.common.params import YAML
from stages.leaderboard import intervals
from stages.metrics import COMPARED, user_metrics

RESAMPLES = 2000
MOST = 2**31  # likings of a movie
LIKINGS = [(1, 10), (11, 100), (1, 100), (101, 1000), (1001, MOST)]


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


def per_user(folders: list[Path], system: str, likings: tuple[int, int]) -> pl.DataFrame:
    """The mean over the seeds of each user's metrics; of targets with so many likings."""
    tables = [
        user_metrics(
            pl.read_parquet(folder / f"data/ranks/{system}.parquet").filter(
                pl.col("likings").is_between(*likings)
            ),
            [10, 200],
        )
        for folder in folders
    ]
    return pl.concat(tables).group_by("user_id").agg(pl.col(COMPARED).mean()).sort("user_id")


def interval(row: dict[str, float]) -> str:
    """A difference, its interval, and a star if 0 is outside."""
    star = "*" if row["real"] else ""
    return f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}){star}"


def by_likings(folders: list[Path]) -> str:
    """Whether genres help: `genre` against `id`, by the number of likings that the target had."""
    lines = [header("likings, metric", ["targets", "id", "genre", "difference"])]
    for bounds in LIKINGS:
        tables = {name: per_user(folders, name, bounds) for name in ("id", "genre")}
        if not tables["id"].height:
            continue
        for row in intervals(tables, ["id"], RESAMPLES, seed=0).to_dicts():
            means = " | ".join(f"{table[row['metric']].mean():.4f}" for table in tables.values())
            name = "-".join(map(str, bounds)) if bounds[1] < MOST else f"{bounds[0]}+"
            lines.append(
                f"| {name}, {row['metric']} | {tables['id'].height} | {means} | {interval(row)} |"
            )
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
    figures = {system: per_user(folders, system, (0, MOST)) for system in systems}
    best = max(retrievers, key=lambda name: figures[name]["ndcg@10"].mean())
    table = intervals(figures, [best], RESAMPLES, seed=0)
    lines += [
        "",
        f"Difference to `{best}`, the best retriever (95% interval; * = not by chance):",
        "",
    ]
    lines.append(header("system", COMPARED))
    for (system,), rows in table.group_by("system", maintain_order=True):
        lines.append(f"| {system} | " + " | ".join(map(interval, rows.to_dicts())) + " |")
    pool = [pl.read_parquet(f / "data/ranks/fusion.parquet")["rank"].gt(0).mean() for f in folders]
    lines += ["", f"Targets among the candidates that rankers see: {np.mean(pool):.1%}.", ""]
    lines.append(by_likings(folders))
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
