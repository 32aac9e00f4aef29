"""Stage: order the test candidates by a ranker's score."""

from pathlib import Path

import lightgbm as lgb
import polars as pl

from stages.boosters import booster_texts, mean_scores, read_boosters
from stages.common.params import read_value
from stages.common.stage import run_stage
from stages.common.tables import (
    RECOMMENDATIONS,
    growing_table,
    read_users,
    user_ranges,
    users_of,
    users_rows,
)
from stages.engine import allowed_threads, over
from stages.features import build_features, pool_features
from stages.folds import NEWEST
from stages.ranker_inputs import Sources, as_pool, pasts


def rerank(boosters: list[lgb.Booster], examples: pl.DataFrame, threads: int) -> pl.DataFrame:
    """RECOMMENDATIONS of all rows of `examples` by the mean score of the boosters.

    Equal scores are ordered by movie id.
    """
    values = examples.select(boosters[0].feature_name()).to_numpy(order="c")
    scores = mean_scores(boosters, values, threads)
    table = examples.select("user_id", "movie_id").with_columns(score=pl.Series(scores))
    ordered = table.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))


def main(
    name: str,
    model: Path,
    pool: Path,
    catalogue: Path,
    genres: Path,
    popularity: Path,
    dislikes: Path,
    train: Path,
    val: Path,
    histories: Path,
    vectors: Path,
    item_knn: Path,
    ease: Path,
    recommendations: Path,
) -> str:
    """Order the newest fold's candidates by the ranker `name`, some users at a time."""
    threads = read_value("lightgbm.threads", int)
    groups = read_value(f"rankers.{name}.features", list[str])
    boosters = read_boosters(booster_texts(model))
    candidates = pool / f"{NEWEST}.parquet"
    files = catalogue, genres, popularity, dislikes, train, val, histories, vectors, item_knn, ease
    ((_, before, data),) = pasts(Sources(*files), (NEWEST,))

    def read(users: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
        return read_users(candidates, users), users_rows(before, users)

    def part(read_rows: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
        rows, known = read_rows
        some = pool_features(as_pool(rows, pool.name), groups)
        features = build_features(some, known, data, groups)
        return rerank(boosters, features, allowed_threads(threads))

    rows = 0
    with growing_table(recommendations, RECOMMENDATIONS) as append:
        ranges = user_ranges(users_of(candidates))
        for lists in over(part, ranges, "batches of users", alone=True, read=read):
            append(lists)
            rows += lists.height
    return f"{rows:,} candidates of {before.height:,} users"


if __name__ == "__main__":
    run_stage(main)
