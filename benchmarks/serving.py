"""How long the bundle takes to load and to answer.

    python -m benchmarks.serving
    python -m benchmarks.serving --bundle /elsewhere/bundle --users 200

Known users are asked for one by one, then as new people who like what those users like, then all
in one batch.
"""

import stages.one_thread  # noqa: F401

# isort: split
import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.recommend import BUNDLE
from stages.serving.chain import NEW_USER, Chain

TOP = 10


def milliseconds(calls: list[Callable[[], object]]) -> np.ndarray:
    """[calls, 2] what each took: by the clock, and of all processors together."""
    spent = []
    for call in calls:
        started = time.perf_counter(), time.process_time()
        call()
        spent.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return np.array(spent) * 1000


def line(name: str, spent: np.ndarray) -> str:
    """One row of the table."""
    clock, processors = spent.T
    figures = (*np.percentile(clock, [50, 95, 99]), clock.max(), np.median(processors))
    return f"| {name} | {len(spent)} | " + " | ".join(f"{f:.0f}" for f in figures) + " |"


def main() -> None:
    """Print a table and the time of a batch."""
    parser = argparse.ArgumentParser(description="Time the serving of a bundle.")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--users", type=int, default=200, help="how many to ask for (200)")
    chosen = parser.parse_args()
    started = time.perf_counter()
    chain = Chain(chosen.bundle)
    loading = time.perf_counter() - started
    count = min(chosen.users, len(chain.users))
    users = np.random.default_rng(0).choice(chain.users, count, replace=False)
    likes = [chain.histories["history"][int(row)].to_list() for row in chain.rows_of(users)]
    known = [lambda user=int(user): chain.for_person(user, [], TOP) for user in users]
    new = [lambda liked=liked: chain.for_person(NEW_USER, liked, TOP) for liked in likes]
    print(
        f"Loaded in {loading:.1f} s: {len(chain.users)} users, {chain.catalogue.height} movies.\n"
    )
    print("| one person, ms | asked | p50 | p95 | p99 | most | processors p50 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    print(line("known user", milliseconds(known)))
    print(line("new person", milliseconds(new)))
    started = time.perf_counter()
    rows = sum(batch.height for batch in chain.for_users(chain.users, TOP))
    spent = time.perf_counter() - started
    print(f"\n{rows} recommendations for all {len(chain.users)} users in {spent:.1f} s.")


if __name__ == "__main__":
    main()
