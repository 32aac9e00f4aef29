"""Measure how long the bundle takes to load and to recommend.

    python -m benchmarks.serving
    python -m benchmarks.serving --bundle /elsewhere/bundle --users 200

It asks for single users, then for new people with the histories of these users, then for all users
in batches.
"""

import stages.serving.one_thread  # noqa: F401

# isort: split
import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.serving.pipeline import NEW_USER, ServingPipeline
from stages.serving.recommend import BUNDLE

TOP = 10


def measure(calls: list[Callable[[], object]]) -> np.ndarray:
    """Return [calls, 2] milliseconds: wall-clock time, and CPU time of all cores together."""
    times = []
    for call in calls:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return np.array(times) * 1000


def table_row(name: str, milliseconds: np.ndarray) -> str:
    """Return one row of the table, from the output of `measure`."""
    wall, cpu = milliseconds.T
    values = (*np.percentile(wall, [50, 95, 99]), wall.max(), np.median(cpu))
    return f"| {name} | {len(wall)} | " + " | ".join(f"{value:.0f}" for value in values) + " |"


def main() -> None:
    """Print a table for single users, and the time for all users."""
    parser = argparse.ArgumentParser(description="Measure the serving of a bundle.")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help=f"its folder ({BUNDLE})")
    parser.add_argument("--users", type=int, default=200, help="number of single users (200)")
    arguments = parser.parse_args()
    start = time.perf_counter()
    recommender = ServingPipeline(arguments.bundle)
    recommender.scorer.compile_trees()  # as the demo does
    loading = time.perf_counter() - start
    user_ids, movies = recommender.users, recommender.catalogue.height
    count = min(arguments.users, len(user_ids))
    users = np.random.default_rng(0).choice(user_ids, count, replace=False)
    rows = recommender.history_rows(users)
    histories = [recommender.histories["history"][int(row)].to_list() for row in rows]
    print(f"Loaded in {loading:.1f} s: {len(user_ids)} users, {movies} movies.\n")
    print("| one person, ms | calls | p50 | p95 | p99 | max | CPU p50 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    calls = [lambda user=int(user): recommender.for_person(user, [], TOP) for user in users]
    print(table_row("user of the data", measure(calls)))
    calls = [
        lambda history=history: recommender.for_person(NEW_USER, history, TOP)
        for history in histories
    ]
    print(table_row("new person", measure(calls)))
    start = time.perf_counter()
    total = sum(batch.height for batch in recommender.for_users(user_ids, TOP))
    seconds = time.perf_counter() - start
    print(f"\n{total} recommendations for all {len(user_ids)} users in {seconds:.1f} s.")


if __name__ == "__main__":
    main()
