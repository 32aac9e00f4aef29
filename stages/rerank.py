"""Stage: order candidates by a ranker's score; those of the validation are scored out of fold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from stages.common.checksums import check_files
from stages.common.params import load_params
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
from stages.data.pairs import cumcount_and_size
from stages.data.snapshots import TEST_SNAPSHOT, VAL_SNAPSHOT
from stages.models.boosters import parse_boosters, read_booster_texts
from stages.parallel.executor import parallel_map
from stages.parallel.process import thread_count
from stages.ranking.features import build_features, generator_features
from stages.ranking.folds import fold_of_users, read_folds
from stages.ranking.inputs import FeatureSources, RankerParams, as_merged, read_context
from stages.ranking.scorer import Scorer

SCORE_ROWS = 131_072  # that are scored at a time


def rerank(scorer: Scorer, features: pl.DataFrame, threads: int) -> pl.DataFrame:
    """Return RECOMMENDATIONS of all rows of `features`, ordered by the boosters' mean score.

    Equal scores are ordered by movie id.

    Args:
        scorer: Has the boosters of one ranker.
        features: user_id, movie_id and the features of the models.
        threads: Threads of LightGBM.
    """
    # Column by column: for one user, a query of Polars would take longer than the scores. In one
    # buffer, because the first use of memory takes longer than the copy.
    columns = [features[name].to_numpy() for name in scorer.features]
    buffer = np.empty((len(columns), min(features.height, SCORE_ROWS)), dtype=np.float32)
    scores = np.empty(features.height)
    for start in range(0, features.height, SCORE_ROWS):
        rows = slice(start, start + SCORE_ROWS)
        values = buffer[:, : len(scores[rows])]
        np.stack([column[rows] for column in columns], out=values)
        scores[rows] = scorer.scores(values.T, threads)
    table = pl.DataFrame([features["user_id"], features["movie_id"], pl.Series("score", scores)])
    ordered = table.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    index, _ = cumcount_and_size(ordered["user_id"].to_numpy())
    return pl.DataFrame([*ordered, pl.Series("rank", index + 1)])


def rerank_out_of_fold(
    folds: pl.DataFrame,
    scorers: list[Scorer],
    features: pl.DataFrame,
    histories: pl.DataFrame,
    threads: int,
) -> pl.DataFrame:
    """Return RECOMMENDATIONS by the booster of each user's fold, which has not seen the user.

    Users of folds without a booster are left out.

    Args:
        folds: FOLDS of one ranker.
        scorers: That of each fold, in their order.
        features: user_id, movie_id and the features of the models.
        histories: HISTORIES of these users.
        threads: Threads of LightGBM.
    """
    fold = fold_of_users(folds, histories["source_user_id"])
    users = histories.select("user_id", fold=fold)
    parts = [
        rerank(
            scorer,
            features.join(users.filter(fold=fold), on="user_id", how="semi"),
            threads,
        )
        for fold, scorer in enumerate(scorers)
    ]
    return pl.concat(parts).sort("user_id", "rank")


def write_lists(
    order: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame],
    snapshot: str,
    params: RankerParams,
    sources: FeatureSources,
    path: Path,
) -> int:
    """Write RECOMMENDATIONS of the candidates of a snapshot, in batches of users.

    Args:
        order: Returns RECOMMENDATIONS from the features and the HISTORIES of a batch.
        snapshot: Name of the snapshot.
        params: Of the ranker.
        sources: What its features come from.
        path: The file.

    Returns:
        The number of rows.
    """
    folder, groups = sources.lists / params.candidates, params.feature_groups
    candidates = folder / f"{snapshot}.parquet"
    histories, context = read_context(sources, params.retriever, snapshot)

    def read(users: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
        return read_user_rows(candidates, users), user_rows(histories, users)

    def score(tables: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
        merged, user_histories = tables
        features = generator_features(as_merged(merged, folder.name), groups)
        return order(build_features(features, user_histories, context, groups), user_histories)

    rows, ranges = 0, user_ranges(read_user_ids(candidates))
    with parquet_appender(path, RECOMMENDATIONS) as append:
        batches = parallel_map(score, ranges, "batches of users", uses_all_cores=True, read=read)
        for lists in batches:
            append(lists)
            rows += lists.height
    return rows


def main(name: str, models: Path, sources: FeatureSources, recommendations: Path) -> str:
    """Write RECOMMENDATIONS of the ranker `name` for the snapshots val and test."""
    params = load_params(RankerParams, f"rankers.{name}")
    check_files(models / name)  # LightGBM ends the process at some damaged models
    scorer = Scorer(parse_boosters(read_booster_texts(models / name)))
    folds = read_folds(models / name)
    fold_scorers = [Scorer([booster]) for booster in parse_boosters(folds.boosters)]
    rows = {}
    for snapshot, order in {
        VAL_SNAPSHOT: lambda features, histories: rerank_out_of_fold(
            folds.users, fold_scorers, features, histories, thread_count()
        ),
        TEST_SNAPSHOT: lambda features, _: rerank(scorer, features, thread_count()),
    }.items():
        path = recommendations / ranker_system(name) / f"{snapshot}.parquet"
        rows[snapshot] = write_lists(order, snapshot, params, sources, path)
    return f"{rows[TEST_SNAPSHOT]:,} test candidates, {rows[VAL_SNAPSHOT]:,} of the validation"


if __name__ == "__main__":
    run_stage(main)
