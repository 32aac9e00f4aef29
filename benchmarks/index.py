"""Measure the speed of FAISS's indexes, and the recall of the approximate ones.

    python -m benchmarks.index
    python -m benchmarks.index --retriever id --users 20000

Reads a finished run in the working directory. `GFLOP/s` counts one multiplication and one addition
for each coordinate of each movie and each user, which an exact search cannot avoid. Recall is the
share of the exact search's movies that an approximate search returns.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.tables import header
from stages.common.params import load_params
from stages.common.tables import POPULARITY, read_table
from stages.data.snapshots import TEST_SNAPSHOT
from stages.faiss_index import Params, build_index

DATA = Path("data")
PRODUCT_BATCH_USERS = 4096  # bounds the [users, movies] scores
# Each kind of index, and the parameter that makes its search more thorough, with its values.
SEARCHES = [
    ("flat", None, [None]),
    ("ivf", "nprobe", [4, 16, 64]),
    ("hnsw", "efSearch", [64, 256]),
]


def time_call(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Return the result of the function, and the seconds that it took."""
    start_time = time.perf_counter()
    return function(*arguments), time.perf_counter() - start_time


def read_vectors(retriever: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids and vectors of a retriever's movies or users; `kind` is movie or user."""
    table = read_table(DATA / "embeddings" / retriever / TEST_SNAPSHOT / f"{kind}s.parquet")
    return table[f"{kind}_id"].to_numpy(), np.ascontiguousarray(table["embedding"].to_numpy())


def mean_overlap(ids: np.ndarray, exact_ids: np.ndarray) -> float:
    """Return the mean share of each row of `exact_ids` that the same row of `ids` contains."""
    row_ids = np.sort(np.concatenate([ids, exact_ids], axis=1), axis=1)
    return float((row_ids[:, 1:] == row_ids[:, :-1]).sum() / exact_ids.size)


def main() -> None:
    """Print the speed of the matrix product alone, and a row for each kind of index."""
    parser = argparse.ArgumentParser(description="Speed and recall of every kind of index.")
    parser.add_argument("--retriever", default="history", help="its vectors are indexed (history)")
    parser.add_argument("--users", type=int, default=20_000, help="maximum number of users")
    parser.add_argument("--top", type=int, default=200, help="movies per user")
    options = parser.parse_args()
    ids, movies = read_vectors(options.retriever, "movie")
    path = DATA / "movies" / "popularity" / f"{TEST_SNAPSHOT}.parquet"
    candidates = read_table(path, POPULARITY).filter(pl.col("positives") > 0)["movie_id"]
    is_candidate = np.isin(ids, candidates.to_numpy())
    ids, movies = ids[is_candidate], movies[is_candidate]
    queries = read_vectors(options.retriever, "user")[1][: options.users]
    gflop = 2 * len(queries) * movies.size / 1e9
    starts = range(0, len(queries), PRODUCT_BATCH_USERS)
    _, seconds = time_call(
        lambda: [queries[n : n + PRODUCT_BATCH_USERS] @ movies.T for n in starts]
    )
    dimensions = movies.shape[1]
    print(f"{len(queries):,} users, {len(ids):,} movies, {dimensions} dimensions.")
    print(f"NumPy's product alone: {gflop / seconds:.0f} GFLOP/s.\n")
    print(header("index", ["build s", "search s", "users/s", "GFLOP/s", f"recall@{options.top}"]))
    params, exact_ids = load_params(Params, "faiss"), np.empty(0)
    for kind, parameter, values in SEARCHES:
        for value in values:
            changes = {parameter: value} if parameter else {}
            index_params = params.model_copy(update={"kind": kind, **changes})
            index, build_seconds = time_call(build_index, ids, movies, index_params)
            count = min(options.top, len(ids))
            (_, result_ids), seconds = time_call(index.search, queries, count)
            if kind == "flat":
                exact_ids = result_ids
            name = f"{kind}, {parameter} {value}" if parameter else kind
            speed = f"{gflop / seconds:.0f}" if kind == "flat" else ""
            recall = mean_overlap(result_ids, exact_ids)
            cells = [f"{build_seconds:.1f}", f"{seconds:.1f}", f"{len(queries) / seconds:,.0f}"]
            print(f"| {name} | {' | '.join(cells)} | {speed} | {recall:.4f} |")


if __name__ == "__main__":
    main()
