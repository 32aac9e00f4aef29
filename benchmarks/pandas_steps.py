"""The data steps as they are often written, with pandas and a loop over users, to compare with.

    .venv-peers/bin/python -m benchmarks.pandas_steps --source /tmp/expanded --work /tmp/pandas

Each step runs in a process of its own, and reads and writes parquet like a stage. The source is a
folder with ratings.csv. `benchmarks/run.py` measures the same steps of the pipeline.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

HISTORY = 100
TRAIN_HISTORY = 20  # of every training row: a hundred would not fit into memory
GIB = 1 << 30


def clean(source: Path, work: Path) -> None:
    """Read the csv, check ranges, drop incomplete and repeated rows."""
    table = pd.read_csv(source / "ratings.csv").dropna()
    if not table["rating"].between(0.5, 5).all() or not table["timestamp"].between(0, 2**32).all():
        raise SystemExit(f"{source}: has a rating or a time out of range; correct it")
    table.drop_duplicates().to_parquet(work / "ratings.parquet")


def positives(source: Path, work: Path) -> None:
    """The latest rating of each user and movie, if it is at least 4."""
    table = pd.read_parquet(work / "ratings.parquet").sort_values("timestamp", kind="stable")
    latest = table.drop_duplicates(["userId", "movieId"], keep="last")
    liked = latest[latest["rating"] >= 4].sort_values(["userId", "timestamp"], kind="stable")
    liked.to_parquet(work / "positives.parquet")


def time_split(source: Path, work: Path) -> None:
    """The last liking of each user to test, the one before to validation."""
    liked = pd.read_parquet(work / "positives.parquet")
    from_end = liked.groupby("userId").cumcount(ascending=False)
    enough = liked.groupby("userId")["movieId"].transform("size") >= 3
    for name, chosen in {
        "train": ~enough | (from_end > 1),
        "val": enough & (from_end == 1),
        "test": enough & (from_end == 0),
    }.items():
        liked[chosen].to_parquet(work / f"{name}.parquet")


def histories(source: Path, work: Path) -> None:
    """What every user liked before: the validation and test targets, and each training row."""
    train, val = (pd.read_parquet(work / f"{name}.parquet") for name in ("train", "val"))
    examples: list[dict] = []
    for name, known in {"val": train, "test": pd.concat([train, val])}.items():
        rows = []
        known = known.sort_values(["userId", "timestamp"], kind="stable")
        for user, group in known.groupby("userId"):
            newest = group.tail(HISTORY)
            movies, times = newest["movieId"].tolist(), newest["timestamp"].tolist()
            rows.append({"user": user, "history": movies, "times": times, "length": len(group)})
            if name == "val":
                liked = group["movieId"].tolist()
                examples += [
                    {"user": user, "movie": movie, "history": liked[max(n - TRAIN_HISTORY, 0) : n]}
                    for n, movie in enumerate(liked)
                ]
        pd.DataFrame(rows).to_parquet(work / f"histories_{name}.parquet")
    pd.DataFrame(examples).to_parquet(work / "histories_train.parquet")


STEPS: list[Callable[[Path, Path], None]] = [clean, positives, time_split, histories]


def measured(step: Callable[[Path, Path], None], source: Path, work: Path) -> tuple[float, float]:
    """Seconds, and GiB at most, of this process."""
    started = time.perf_counter()
    step(source, work)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    return time.perf_counter() - started, most


def main() -> None:
    """Parse the command line, print a row for each step."""
    parser = argparse.ArgumentParser(description="Seconds and memory of the data steps in pandas.")
    parser.add_argument("--source", type=Path, required=True, help="a folder with ratings.csv")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the tables")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    print("| step | seconds | GiB |\n| --- | ---: | ---: |")
    for step in STEPS:
        # A new process for each: what the one before has freed would count too.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, gib = pool.apply(measured, (step, chosen.source, chosen.work))
        print(f"| {step.__name__} | {seconds:.1f} | {gib:.2f} |", flush=True)


if __name__ == "__main__":
    main()
