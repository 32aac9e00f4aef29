"""The data stages in plain pandas with a loop over users.

    .venv-peers/bin/python -m benchmarks.costs.pandas_steps clean --source RAW --work TABLES

Each step reads and writes parquet like a stage. The source is a folder with a ratings.csv of
GroupLens, or with an .inter file of RecBole.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd

MAX_LENGTH = 100
TRAIN_MAX_LENGTH = 20  # of the history of a training row; 100 would not fit into memory


def clean(source: Path, work: Path) -> None:
    """Read the ratings, check ranges, and drop incomplete and repeated rows."""
    csv, inter = source / "ratings.csv", sorted(source.glob("*.inter"))
    table = pd.read_csv(csv) if csv.exists() else pd.read_csv(inter[0], sep="\t")
    table = table.set_axis(["userId", "movieId", "rating", "timestamp"], axis=1).dropna()
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


STEPS: dict[str, Callable[[Path, Path], None]] = {
    step.__name__: step for step in (clean, positives, time_split, histories)
}


def main() -> None:
    """Parse the command line, and run a step."""
    parser = argparse.ArgumentParser(description="A data step in pandas.")
    parser.add_argument("step", choices=STEPS, help="the name of a stage")
    parser.add_argument("--source", type=Path, required=True, help="a folder with ratings.csv")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the tables")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    STEPS[options.step](options.source, options.work)


if __name__ == "__main__":
    main()
