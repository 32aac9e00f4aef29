"""Speed of the search for candidates, against the machine's limit; recall of approximate indexes.

    python -m benchmarks.index
    python -m benchmarks.index --retriever id --users 20000

Reads a finished run in the working directory. `GFLOP/s` counts a multiplication and an addition for
each number of each movie's vector and each user: what an exact search cannot do without. Recall is
the share of the exact search's movies that an approximate one finds too.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation import header
from stages.common.params import load_params
from stages.common.tables import POPULARITY, read_table
from stages.faiss_index import Params, build_index
from stages.folds import NEWEST

DATA = Path("data")
KINDS = {"flat": [0], "ivf": [4, 16, 64], "hnsw": [64, 256]}  # and how widely each looks


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What it returns, and the seconds that it took."""
    started = time.perf_counter()
    return function(*arguments), time.perf_counter() - started


def vectors(retriever: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids and vectors of a retriever's movies or users."""
    table = read_table(DATA / "embeddings" / retriever / NEWEST / f"{kind}s.parquet")
    return table[f"{kind}_id"].to_numpy(), np.ascontiguousarray(table["embedding"].to_numpy())


def found_share(found: np.ndarray, exact: np.ndarray) -> float:
    """Mean share of each row of `exact` ids that its row of `found` has too."""
    both = np.sort(np.concatenate([found, exact], axis=1), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum() / exact.size)


def main() -> None:
    """Print the limit, and a row for each kind of index."""
    parser = argparse.ArgumentParser(description="Speed and recall of every kind of index.")
    parser.add_argument("--retriever", default="history")
    parser.add_argument("--users", type=int, default=20_000, help="the most to search for")
    parser.add_argument("--top", type=int, default=200, help="movies per user")
    chosen = parser.parse_args()
    ids, movies = vectors(chosen.retriever, "movie")
    liked = read_table(DATA / "popularity" / f"{NEWEST}.parquet", POPULARITY)
    known = np.isin(ids, liked.filter(liked["likings"] > 0)["movie_id"].to_numpy())
    ids, movies = ids[known], movies[known]
    queries = vectors(chosen.retriever, "user")[1][: chosen.users]
    work = 2 * len(queries) * movies.size / 1e9
    _, seconds = timed(
        lambda: [queries[n : n + 4096] @ movies.T for n in range(0, len(queries), 4096)]
    )
    print(
        f"{len(queries):,} users, {len(ids):,} movies, {movies.shape[1]} numbers, top {chosen.top}."
    )
    print(f"NumPy's product alone: {work / seconds:.0f} GFLOP/s.\n")
    print(header("index", ["build s", "search s", "users/s", "GFLOP/s", f"recall@{chosen.top}"]))
    params, exact = load_params(Params, "faiss"), np.empty(0)
    for kind, widths in KINDS.items():
        for width in widths:
            made = dataclasses.replace(params, kind=kind, probes=max(width, 1))
            index, build = timed(build_index, ids, movies, made)
            (_, found), search = timed(index.search, queries, min(chosen.top, len(ids)))
            exact = found if kind == "flat" else exact
            name = f"{kind}, probes {width}" if width else kind
            speed = f"{work / search:.0f}" if kind == "flat" else ""
            recall = found_share(found, exact)
            users = len(queries) / search
            print(
                f"| {name} | {build:.1f} | {search:.1f} | {users:,.0f} | {speed} | {recall:.4f} |"
            )


if __name__ == "__main__":
    main()
