"""Stage: order the test snapshot's candidates by a ranker's score."""

from pathlib import Path

import lightgbm as lgb
import polars as pl

from stages.common.checksums import check_files
from stages.common.params import load_params, read_value
from stages.common.stage import run_stage
from stages.common.systems import ranker_system
from stages.common.tables import (
    RECOMMENDATIONS,
    parquet_appender,
    read_user_ids,
    read_user_rows,
    user_ranges,
    user_rows,
)
from stages.data.snapshots import TEST_SNAPSHOT
from stages.models.boosters import mean_scores, parse_boosters, read_booster_texts
from stages.parallel.executor import parallel_map
from stages.parallel.process import thread_limit
from stages.ranking.features import build_features, generator_features
from stages.ranking.inputs import FeatureSources, RankerParams, as_merged, read_context


def rerank(boosters: list[lgb.Booster], features: pl.DataFrame, threads: int) -> pl.DataFrame:
    """Return RECOMMENDATIONS of all rows of `features`, ordered by the boosters' mean score.

    Equal scores are ordered by movie id.

    Args:
        boosters: The models of one ranker.
        features: user_id, movie_id and the features of the models.
        threads: Threads of the prediction.
    """
    values = features.select(boosters[0].feature_name()).to_numpy(order="c")
    scores = mean_scores(boosters, values, threads)
    table = features.select("user_id", "movie_id").with_columns(score=pl.Series(scores))
    ordered = table.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))


def main(name: str, models: Path, sources: FeatureSources, recommendations: Path) -> str:
    """Write RECOMMENDATIONS of the ranker `name`, computed in batches of users."""
    threads = read_value("lightgbm.num_threads", int)
    params = load_params(RankerParams, f"rankers.{name}")
    groups = params.feature_groups
    check_files(models / name)  # LightGBM ends the process at some damaged models
    boosters = parse_boosters(read_booster_texts(models / name))
    folder = sources.lists / params.candidates
    candidates = folder / f"{TEST_SNAPSHOT}.parquet"
    histories, context = read_context(sources, params.retriever, TEST_SNAPSHOT)
    path = recommendations / ranker_system(name) / f"{TEST_SNAPSHOT}.parquet"

    def read(users: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
        return read_user_rows(candidates, users), user_rows(histories, users)

    def score(tables: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
        rows, user_histories = tables
        features = generator_features(as_merged(rows, folder.name), groups)
        features = build_features(features, user_histories, context, groups)
        return rerank(boosters, features, thread_limit(threads))

    rows = 0
    with parquet_appender(path, RECOMMENDATIONS) as append:
        ranges = user_ranges(read_user_ids(candidates))
        batches = parallel_map(score, ranges, "batches of users", uses_all_cores=True, read=read)
        for lists in batches:
            append(lists)
            rows += lists.height
    return f"{rows:,} candidates of {histories.height:,} users"


if __name__ == "__main__":
    run_stage(main)
