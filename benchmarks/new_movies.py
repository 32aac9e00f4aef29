"""How well the retrievers of ids and genres place new movies.

    python -m benchmarks.new_movies

Of the movies with at least 20 likings before the early targets a tenth, drawn at random, are made
new: they keep only their first 0, 1, 3 or 10 likings, and each retriever is trained on that. The
likings that were taken away are then looked for, among all movies and among the new ones alone.
What their users like besides is left out. Every new movie counts alike; a movie without a vector is
a miss. Reads a finished run in the working directory; validation and test targets are never opened.
"""

import argparse
import importlib
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.ablation import header, line
from stages import train_retrieval
from stages.common.params import load_params, read_section, read_seed
from stages.folds import FOLDS
from stages.retrieval.training import Arrays
from stages.top_k import interactions
from stages.towers import serve_movies, serve_users

DATA = Path("data")
RETRIEVERS = ("id", "genre", "hard_negative")
FEWEST, SHARE = 20, 0.1
PAIRS_AT_ONCE = 2048
FIGURES = {"all": (50, 200), "new": (5, 10)}  # recall at these ranks


def taken_likings(likings: pl.DataFrame, kept: int, rng: np.random.Generator) -> pl.DataFrame:
    """All but the first `kept` likings of each of the movies that are made new."""
    counts = likings.group_by("movie_id").len().filter(pl.col("len") >= FEWEST).sort("movie_id")
    new = rng.choice(counts["movie_id"].to_numpy(), int(SHARE * len(counts)), replace=False)
    age = pl.col("timestamp").rank("ordinal").over("movie_id")
    return likings.filter(pl.col("movie_id").is_in(new)).filter(age > kept)


def recalls(
    arrays: Arrays, histories: pl.DataFrame, likings: pl.DataFrame, taken: pl.DataFrame
) -> list[float]:
    """The recalls of `FIGURES`, means over the new movies.

    Args:
        arrays: A model that knows `likings` without those `taken`.
        histories: HISTORIES of the users that it knows.
        likings: All likings.
        taken: Those to look for.
    """
    movie_ids, movies = serve_movies(arrays)
    users, queries = serve_users(arrays, histories)
    taken = taken.filter(pl.col("user_id").is_in(users))
    liked = interactions(likings, users, movie_ids)
    is_new = np.isin(movie_ids, taken["movie_id"].unique().to_numpy())
    owner = np.searchsorted(users, taken["user_id"].to_numpy())
    column = np.searchsorted(movie_ids, taken["movie_id"].to_numpy()).clip(max=len(movie_ids) - 1)
    known = movie_ids[column] == taken["movie_id"].to_numpy()
    ranks = {name: np.zeros(len(owner), dtype=np.int64) for name in FIGURES}
    for start in range(0, len(owner), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        scores = queries[owner[part]] @ movies.T
        wanted = np.take_along_axis(scores, column[part, None], axis=1)
        scores[liked[owner[part]].nonzero()] = -np.inf  # the wanted one too
        ahead = scores >= wanted
        ranks["all"][part] = 1 + ahead.sum(axis=1)
        ranks["new"][part] = 1 + ahead[:, is_new].sum(axis=1)
    hits = [
        pl.Series(f"{name}@{cutoff}", known & (ranks[name] <= cutoff))
        for name, cutoffs in FIGURES.items()
        for cutoff in cutoffs
    ]
    by_movie = taken.select("movie_id", *hits).group_by("movie_id").mean()
    return list(by_movie.drop("movie_id").mean().row(0))


def measured(name: str, kept: int, seeds: int) -> list[float]:
    """Means over seeds of `recalls` of the retriever `name`."""
    variant = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(variant.Params, f"retrievers.{name}")
    length = read_section("histories.max_length")
    everything = pl.read_parquet(DATA / "histories" / "train.parquet")
    likings = everything.filter(pl.col("fold") == 0)
    histories = pl.read_parquet(DATA / "histories" / "early.parquet")
    rows = []
    for seed in range(read_seed(), read_seed() + seeds):
        taken = taken_likings(likings, kept, np.random.default_rng(seed))
        rest = likings.join(taken, on=["user_id", "movie_id"], how="anti", maintain_order="left")
        # Training is stopped by the early targets, but not by what is to be found.
        later = everything.filter(pl.col("fold") == 1).join(taken, on="movie_id", how="anti")
        before = histories.join(rest, on="user_id", how="semi", maintain_order="left")
        tables = {
            "likings": pl.concat([rest, later]),
            "histories": before,
            "genres": pl.read_parquet(DATA / "movies" / "genres.parquet"),
        }
        _, made = train_retrieval.train(variant, params, tables, length, seed, folds=FOLDS[:1])
        rows.append(recalls(made[FOLDS[0]], before, likings, taken))
    return list(np.mean(rows, axis=0))


def main() -> None:
    """Print a row for each number of likings and each retriever."""
    parser = argparse.ArgumentParser(description="Recall of new movies.")
    parser.add_argument("--kept", type=int, nargs="+", default=[0, 1, 3, 10])
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    columns = [f"recall@{k}, {name} movies" for name, cutoffs in FIGURES.items() for k in cutoffs]
    print(header("likings kept, retriever", columns))
    for kept in chosen.kept:
        for name in RETRIEVERS:
            print(line(f"{kept}, {name}", measured(name, kept, chosen.seeds)), flush=True)


if __name__ == "__main__":
    main()
