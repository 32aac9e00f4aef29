"""The data stages in plain pandas with a loop over users, to compare with.

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

MAX_LENGTH = 100
TRAIN_MAX_LENGTH = 20  # of the history of a training row; 100 would not fit into memory
GIB = 1 << 30


def clean(source: Path, work: Path) -> None:
    """Read the csv, check ranges, and drop incomplete and repeated rows."""
    table = pd.read_csv(source / "ratings.csv").dropna()
    if not table["rating"].between(0.5, 5).all() or not table["timestamp"].between(0, 2**32).all():
        raise SystemExit(f"{source}: has a rating or a time out of range; correct it")
    table.drop_duplicates().to_parquet(work / "ratings.parquet")


def positives(source: Path, work: Path) -> None:
    """Keep the latest rating of each user and movie, if it is at least 4."""
    table = pd.read_parquet(work / "ratings.parquet").sort_values("timestamp", kind="stable")
    latest = table.drop_duplicates(["userId", "movieId"], keep="last")
    table = latest[latest["rating"] >= 4].sort_values(["userId", "timestamp"], kind="stable")
    table.to_parquet(work / "positives.parquet")


def time_split(source: Path, work: Path) -> None:
    """Hold out the last positive of each user for the test, the one before for validation."""
    table = pd.read_parquet(work / "positives.parquet")
    from_end = table.groupby("userId").cumcount(ascending=False)
    has_targets = table.groupby("userId")["movieId"].transform("size") >= 3
    for name, mask in {
        "train": ~has_targets | (from_end > 1),
        "val": has_targets & (from_end == 1),
        "test": has_targets & (from_end == 0),
    }.items():
        table[mask].to_parquet(work / f"{name}.parquet")


def histories(source: Path, work: Path) -> None:
    """Collect users' histories before the validation and the test targets, and training rows."""
    train, val = (pd.read_parquet(work / f"{name}.parquet") for name in ("train", "val"))
    examples: list[dict] = []
    for name, table in {"val": train, "test": pd.concat([train, val])}.items():
        rows = []
        table = table.sort_values(["userId", "timestamp"], kind="stable")
        for user, group in table.groupby("userId"):
            newest = group.tail(MAX_LENGTH)
            movies, times = newest["movieId"].tolist(), newest["timestamp"].tolist()
            rows.append({"user": user, "history": movies, "times": times, "length": len(group)})
            if name == "val":
                movies = group["movieId"].tolist()
                examples += [
                    {
                        "user": user,
                        "movie": movie,
                        "history": movies[max(n - TRAIN_MAX_LENGTH, 0) : n],
                    }
                    for n, movie in enumerate(movies)
                ]
        pd.DataFrame(rows).to_parquet(work / f"histories_{name}.parquet")
    pd.DataFrame(examples).to_parquet(work / "histories_train.parquet")


STEPS: list[Callable[[Path, Path], None]] = [clean, positives, time_split, histories]


def measure(step: Callable[[Path, Path], None], source: Path, work: Path) -> tuple[float, float]:
    """Run a step, and return its seconds and the peak memory of this process in GiB."""
    start_time = time.perf_counter()
    step(source, work)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    return time.perf_counter() - start_time, peak_gib


def main() -> None:
    """Parse the command line, and print a row for each step."""
    parser = argparse.ArgumentParser(description="Seconds and memory of the data steps in pandas.")
    parser.add_argument("--source", type=Path, required=True, help="a folder with ratings.csv")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the tables")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print("| step | seconds | GiB |\n| --- | ---: | ---: |")
    for step in STEPS:
        # A new process for each step: the peak memory of a process never falls.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, gib = pool.apply(measure, (step, options.source, options.work))
        print(f"| {step.__name__} | {seconds:.1f} | {gib:.2f} |", flush=True)


if __name__ == "__main__":
    main()
