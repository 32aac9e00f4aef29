"""Stage: count likings per movie; recommend the most liked ones to everyone (a baseline)."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.params import load_params
from stages.common.stage import run_stage
from stages.common.tables import (
    CATALOGUE,
    POPULARITY,
    RECOMMENDATIONS,
    read_table,
    write_table,
)
from stages.engine import Tables, by_users, over
from stages.folds import folds
from stages.top_k import CandidateParams, UserBatch, best_unseen, in_order, user_batches


def count_likings(catalogue: pl.DataFrame, likings: pl.DataFrame) -> pl.DataFrame:
    """POPULARITY of every catalogue movie, sorted by movie; equal counts share the worse rank."""

    def part(some: pl.DataFrame) -> Tables:
        return (some.group_by("movie_id").agg(likings=pl.len()),)

    parts = pl.concat([counts for (counts,) in by_users("popularity", part, likings)])
    counts = parts.group_by("movie_id").agg(pl.col("likings").sum())
    table = catalogue.select("movie_id").join(counts, on="movie_id", how="left").fill_null(0)
    rank = pl.col("likings").rank("max", descending=True)
    return table.with_columns(popularity_rank=rank).sort("movie_id")


def recommend_popular(
    popularity: pl.DataFrame, users: np.ndarray, likings: pl.DataFrame, count: int
) -> pl.DataFrame:
    """RECOMMENDATIONS: each user's `count` most liked unseen movies, scored by likings."""
    liked = popularity.filter(pl.col("likings") > 0).sort("popularity_rank", "movie_id")

    def part(batch: UserBatch) -> pl.DataFrame:
        some, best = users[batch.places], liked.head(count + batch.longest)
        shape = (len(some), best.height)
        movies = np.broadcast_to(best["movie_id"].to_numpy(), shape)
        scores = np.broadcast_to(best["likings"].to_numpy(), shape)
        return best_unseen(some, movies, scores, batch.seen, count)

    return in_order(list(over(part, user_batches(users, likings))))


def main(
    catalogue: Path,
    train: Path,
    val: Path,
    histories: Path,
    popularity: Path,
    recommendations: Path,
) -> str:
    """Write one popularity table and one list of recommendations per fold."""
    count = load_params(CandidateParams, "candidates").count
    movies = read_table(catalogue, CATALOGUE)
    for fold, likings, before in folds(train, val, histories):
        users = before["user_id"].to_numpy()
        counts = count_likings(movies, likings)
        lists = recommend_popular(counts, users, likings, count)
        write_table(counts, popularity / f"{fold}.parquet", POPULARITY)
        write_table(lists, recommendations / f"{fold}.parquet", RECOMMENDATIONS)
    return (
        f"{likings.height:,} likings -> {lists.height:,} recommendations for {len(users):,} users"
    )


if __name__ == "__main__":
    run_stage(main)
