"""Measure how well the retrievers of ids and genres recommend new movies.

    python -m benchmarks.new_movies

A tenth of the movies with at least 20 positives before the inner_val targets is sampled and made
new: these movies keep only their first 0, 1, 3 or 10 positives, and each retriever is trained on
the result. The removed positives are the targets. They are ranked among all movies, and among the
new movies alone, without the other positives of their users. Recall is a mean over the new movies;
a movie without a vector is a miss. Reads a finished run in the working directory; validation and
test targets are never opened.
"""

import argparse
import importlib
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.tables import figures_row, header
from stages import train_retrieval
from stages.common.params import load_params, read_seed, read_value
from stages.common.tables import TARGETS, read_table
from stages.data.snapshots import (
    SNAPSHOTS,
    read_histories,
    read_low_ratings,
    read_positives,
    read_seen,
)
from stages.histories import build_histories, last_queries
from stages.models.top_k import interaction_matrix
from stages.models.towers import movie_embeddings
from stages.models.user_vectors import user_embeddings, with_fold_in
from stages.retrieval.worker import Arrays

DATA = Path("data")
SNAPSHOT = SNAPSHOTS[0]
RETRIEVERS = ("id", "genre", "hard_negative")
MIN_POSITIVES, SHARE = 20, 0.1
RANK_BATCH_TARGETS = 2048  # bounds the dense [targets, movies] scores
CUTOFFS = {"all": (50, 200), "new": (5, 10)}  # of the recall among these movies


def removed_positives(
    positives: pl.DataFrame, num_kept: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Sample the new movies, and return all but their first `num_kept` positives."""
    counts = positives.group_by("movie_id").len()
    counts = counts.filter(pl.col("len") >= MIN_POSITIVES).sort("movie_id")
    movies = rng.choice(counts["movie_id"].to_numpy(), int(SHARE * len(counts)), replace=False)
    number = pl.col("timestamp").rank("ordinal").over("movie_id")
    return positives.filter(pl.col("movie_id").is_in(movies)).filter(number > num_kept)


def recalls(
    arrays: Arrays,
    histories: pl.DataFrame,
    seen: pl.DataFrame,
    positives: pl.DataFrame,
    removals: pl.DataFrame,
) -> list[float]:
    """Return the recalls at `CUTOFFS`, means over the new movies.

    Args:
        arrays: A model that was trained on `positives` without `removals`.
        histories: HISTORIES of its users.
        seen: SEEN of them.
        positives: All positives.
        removals: The positives to rank.
    """
    movie_ids, movies = movie_embeddings(arrays)
    users, queries = user_embeddings(arrays, histories, seen)
    targets = removals.filter(pl.col("user_id").is_in(users))
    known = interaction_matrix(positives, users, movie_ids)
    is_new = np.isin(movie_ids, targets["movie_id"].unique().to_numpy())
    user_index = np.searchsorted(users, targets["user_id"].to_numpy())
    target_ids = targets["movie_id"].to_numpy()
    movie_index = np.searchsorted(movie_ids, target_ids).clip(max=len(movie_ids) - 1)
    has_vector = movie_ids[movie_index] == target_ids
    ranks = {name: np.zeros(len(targets), dtype=np.int64) for name in CUTOFFS}
    for start in range(0, len(targets), RANK_BATCH_TARGETS):
        batch = slice(start, start + RANK_BATCH_TARGETS)
        scores = queries[user_index[batch]] @ movies.T
        target_scores = np.take_along_axis(scores, movie_index[batch, None], axis=1)
        scores[known[user_index[batch]].nonzero()] = -np.inf  # the targets too
        is_ahead = scores >= target_scores
        ranks["all"][batch] = 1 + is_ahead.sum(axis=1)
        ranks["new"][batch] = 1 + is_ahead[:, is_new].sum(axis=1)
    hits = [
        pl.Series(f"{name}@{cutoff}", has_vector & (ranks[name] <= cutoff))
        for name, cutoffs in CUTOFFS.items()
        for cutoff in cutoffs
    ]
    by_movie = targets.select("movie_id", *hits).group_by("movie_id").mean()
    return list(by_movie.drop("movie_id").mean().row(0))


def mean_recalls(name: str, num_kept: int, num_seeds: int) -> list[float]:
    """Return the means over seeds of the `recalls` of the retriever `name`."""
    retriever = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(retriever.Params, f"retrievers.{name}")
    max_length = read_value("histories.max_length", int)
    positives = read_positives(DATA / "histories", SNAPSHOT)
    histories = read_histories(DATA / "histories", SNAPSHOT)
    seen, low_ratings = read_seen(DATA / "seen", SNAPSHOT), read_low_ratings(DATA / "seen")
    targets = read_table(DATA / "targets" / f"{SNAPSHOT}.parquet", TARGETS)
    rows = []
    for seed in range(read_seed(), read_seed() + num_seeds):
        removals = removed_positives(positives, num_kept, np.random.default_rng(seed))
        rest = positives.join(
            removals, on=["user_id", "movie_id"], how="anti", maintain_order="left"
        )
        # Without the positives that were removed: a user's vector depends on the history too.
        rest_histories = build_histories(last_queries(rest), rest, max_length)
        rest_histories = rest_histories.join(
            histories, on="user_id", how="semi", maintain_order="left"
        )
        tables = {
            "positives": rest,
            "low_ratings": low_ratings.join(removals, on="movie_id", how="anti"),
            "histories": rest_histories,
            "seen": seen.join(rest_histories, on="user_id", how="semi", maintain_order="left"),
            # Targets of new movies do not stop the training.
            "targets": targets.join(removals, on="movie_id", how="anti", maintain_order="left"),
            "genres": read_table(DATA / "movies" / "genres.parquet"),
        }
        _, arrays = train_retrieval.train(
            retriever, params, tables, max_length, seed, snapshots=[SNAPSHOT]
        )
        model = with_fold_in(arrays[SNAPSHOT], rest)
        rows.append(recalls(model, rest_histories, tables["seen"], positives, removals))
    return list(np.mean(rows, axis=0))


def main() -> None:
    """Print a row for each number of positives and each retriever."""
    parser = argparse.ArgumentParser(description="Recall of new movies.")
    kept, text = [0, 1, 3, 10], "positives that a new movie keeps, one row each (0 1 3 10)"
    parser.add_argument("--kept", type=int, nargs="+", default=kept, help=text)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options = parser.parse_args()
    columns = [f"recall@{k}, {name} movies" for name, cutoffs in CUTOFFS.items() for k in cutoffs]
    print(header("positives kept, retriever", columns))
    for num_kept in options.kept:
        for name in RETRIEVERS:
            figures = mean_recalls(name, num_kept, options.seeds)
            print(figures_row(f"{num_kept}, {name}", figures), flush=True)


if __name__ == "__main__":
    main()
