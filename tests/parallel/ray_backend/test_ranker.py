"""A ranker that two workers train is as good as one trained in one process."""

from pathlib import Path
from types import SimpleNamespace

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from stages.common.stage import StageError
from stages.parallel.ray_backend.ranker import MetricAverager, train_on_ray
from stages.ranking.inputs import RankerParams
from stages.train_ranker import KEYS, Params, lightgbm_params, train
from tests.parallel.runs import with_ray

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own code warns

PARAMS = Params(
    learning_rate=0.1,
    num_leaves=15,
    min_data_in_leaf=20,
    feature_fraction=1.0,
    bagging_fraction=0.8,
    lambda_l2=1.0,
    num_boost_round=60,
    early_stopping_rounds=10,
    nfold=3,
    ensemble_size=2,
)
RANKER = RankerParams(
    candidates="merged",
    retriever="history",
    objective="lambdarank",
    metric="ndcg",
    eval_at=10,
    drop_users_without_hit=True,
    negatives_per_user=100,
    feature_groups=[],
)


def ranker_examples(users: int, rows_per_user: int = 20) -> pl.DataFrame:
    """One target per user, which two features predict together, with noise.

    Every user has one query.
    """
    rng = np.random.default_rng(5)
    label = np.zeros((users, rows_per_user), dtype=np.uint8)
    label[np.arange(users), rng.integers(0, rows_per_user, users)] = 1
    part = rng.normal(size=label.shape)
    columns = {
        "snapshot": np.zeros(users * rows_per_user, dtype=np.uint8),
        "user_id": np.repeat(np.arange(users, dtype=np.int32), rows_per_user),
        "source_user_id": np.repeat(np.arange(users, dtype=np.int32), rows_per_user),
        "movie_id": np.tile(np.arange(rows_per_user, dtype=np.int32), users),
        "sum": (label * 1.5 + part + rng.normal(size=label.shape)).ravel(),
        "part": part.ravel(),
        "noise": rng.normal(size=users * rows_per_user),
        "label": label.ravel(),
    }
    return pl.DataFrame(columns).with_columns(pl.col("sum", "part", "noise").cast(pl.Float32))


def ndcg(boosters: list[lgb.Booster], examples: pl.DataFrame, cutoff: int = 10) -> float:
    """Mean ndcg over users, each of whom has one target."""
    features = examples.select([c for c in examples.columns if c not in KEYS]).to_numpy()
    scores = np.mean([booster.predict(features) for booster in boosters], axis=0)
    rank = pl.col("score").rank("ordinal", descending=True).over("user_id")
    ranked = examples.with_columns(score=pl.Series(scores)).with_columns(rank=rank)
    ranks = ranked.filter(pl.col("label") == 1)["rank"].to_numpy()
    return float(np.where(ranks <= cutoff, 1 / np.log2(ranks + 1), 0).mean())


def tree_text(booster: lgb.Booster) -> str:
    """A booster's text without its parameters, among which are ports."""
    return booster.model_to_string().partition("\nparameters:")[0]


def test_a_metric_is_averaged_over_the_users_of_all_workers() -> None:
    averager = MetricAverager(lambda pair: [pair, (30, 0.5)], users=10)
    results = [lgb.EvalResult("valid", "ndcg@10", 0.1, True, 0.01)]
    averager(SimpleNamespace(evaluation_result_list=results))
    assert averager.values == [pytest.approx((10 * 0.1 + 30 * 0.5) / 40)]
    assert results[0].metric_value == averager.values[0]
    assert averager.order < lgb.early_stopping(1, verbose=False).order


@with_ray
def test_a_ranker_of_two_workers_is_as_good_as_one_of_one_worker(two_workers: Path) -> None:
    examples = ranker_examples(4000)
    is_held_out = pl.col("user_id") >= 3000
    training, validation = examples.filter(~is_held_out), examples.filter(is_held_out)
    options = lightgbm_params(PARAMS, RANKER, seed=1)
    local, local_metric, local_folds = train(training, PARAMS, options, seed=1)
    boosters, metric, folds = train_on_ray(train, training, PARAMS, options, seed=1)
    assert len(boosters) == len(local) == 2
    assert metric == pytest.approx(local_metric, abs=0.02)
    assert ndcg(boosters, validation) == pytest.approx(ndcg(local, validation), abs=0.02)
    assert ndcg(boosters, validation) > 0.5  # by chance it would be 0.23
    assert folds.users["source_user_id"].equals(local_folds.users["source_user_id"])
    assert len(folds.boosters) == len(local_folds.boosters) == PARAMS.nfold
    assert not list((two_workers / "storage" / "training").glob("*"))
    again, *_ = train_on_ray(train, training, PARAMS, options, seed=1)
    assert [tree_text(b) for b in again] == [tree_text(b) for b in boosters]


def test_a_worker_needs_a_user_for_each_fold(two_workers: Path) -> None:
    options = lightgbm_params(PARAMS, RANKER, seed=1)
    with pytest.raises(StageError, match=r"^ray\.workers: a worker of 2 gets \d users; set it"):
        train_on_ray(train, ranker_examples(4), PARAMS, options, seed=1)


def test_the_queries_of_a_user_go_to_one_worker(two_workers: Path) -> None:
    # 40 queries of four users: a worker that gets whole users has fewer than there are folds.
    examples = ranker_examples(40).with_columns(source_user_id=pl.col("user_id") % 4)
    options = lightgbm_params(PARAMS, RANKER, seed=1)
    with pytest.raises(StageError, match=r"^ray\.workers: a worker of 2 gets [012] users; set it"):
        train_on_ray(train, examples, PARAMS, options, seed=1)
