"""Stage: train one LightGBM ranker on the inner_val and the val targets."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
from pydantic import Field

from stages.cli.progress import Advance, progress
from stages.common.checksums import write_checksums
from stages.common.files import write_csv
from stages.common.params import Section, load_params, read_seed
from stages.common.stage import StageError, run_stage
from stages.common.tables import read_table
from stages.data.snapshots import RANKER_SNAPSHOTS
from stages.models.boosters import booster_text, importance, write_booster_texts
from stages.parallel.executor import backend
from stages.parallel.process import openmp_threads
from stages.ranking.folds import Folds, Trained, assign_folds, fold_rows, write_folds
from stages.ranking.inputs import RankerParams

GROUP = ["snapshot", "user_id"]  # the candidates of a query are ranked against each other
KEYS = [*GROUP, "source_user_id", "movie_id", "label"]
# A feature leaks if it separates the target for this share of the users, and they are enough.
LEAK_SHARE, LEAK_MIN_USERS = 0.95, 50
# Above this many users one CV fold and one booster are stable enough, and a three times higher
# learning rate costs no accuracy.
MANY_USERS, RATE_FACTOR = 6500, 3


class Params(Section):
    """LightGBM's own parameters, and the cross-validation that chooses the number of trees.

    `scale_to_users` adapts them to large data.
    """

    learning_rate: float = Field(ge=1e-5, le=1)
    """Factor of each tree's contribution."""

    num_leaves: int = Field(ge=2, le=10_000)
    """The most leaves of a tree."""

    min_data_in_leaf: int = Field(ge=1, le=1_000_000)
    """The fewest rows of a leaf."""

    feature_fraction: float = Field(ge=0.01, le=1)
    """Share of the features that is sampled for each tree."""

    bagging_fraction: float = Field(ge=0.01, le=1)
    """Share of the rows that is sampled for each tree."""

    lambda_l2: float = Field(ge=0, le=1e6)
    """L2 regularization of the leaf values."""

    num_boost_round: int = Field(ge=1, le=100_000)
    """The most trees of a booster."""

    early_stopping_rounds: int = Field(ge=1, le=100_000)
    """Rounds without a better cross-validated metric after which no more trees are grown."""

    nfold: int = Field(ge=2, le=100)
    """Folds of the cross-validation; all rows of a user are in one fold."""

    ensemble_size: int = Field(ge=1, le=100)
    """Boosters whose scores are averaged; they differ in their seeds."""


def scale_to_users(params: Params, users: int) -> Params:
    """Scale the parameters to the number of users.

    Above `MANY_USERS` there is one booster, with fewer trees that learn at a higher rate: the cost
    of reranking is proportional to the number of all trees.
    """
    if users <= MANY_USERS:
        return params
    return params.model_copy(
        update={
            "learning_rate": min(1.0, RATE_FACTOR * params.learning_rate),
            "num_boost_round": math.ceil(params.num_boost_round / RATE_FACTOR),
            "ensemble_size": 1,
        }
    )


def check_labels(examples: pl.DataFrame, features: list[str]) -> None:
    """Reject a feature that predicts the label almost alone: it leaks it.

    Such a feature ranks the target strictly above, or strictly below, all other candidates of
    its user, for `LEAK_SHARE` of the users. A missing value counts as the lowest.

    Raises:
        StageError: There is such a feature, and there are at least `LEAK_MIN_USERS` users.
    """
    target = pl.col("label") == 1
    separates = []
    for name in features:
        value = pl.col(name).fill_nan(None).fill_null(-np.inf)
        others = value.filter(~target)
        above = value.filter(target).min() > others.max()
        below = value.filter(target).max() < others.min()
        separates += [above.alias(f"{name} above"), below.alias(f"{name} below")]
    # A group needs a target and another candidate.
    rows = examples.filter(target.any().over(GROUP) & (~target).any().over(GROUP))
    table = rows.group_by(GROUP).agg(separates).drop(GROUP)
    if table.height < LEAK_MIN_USERS:
        return
    for name, share in table.mean().row(0, named=True).items():
        if share is not None and share >= LEAK_SHARE:
            feature = name.rsplit(" ", 1)[0]
            error = f"{feature}: predicts the label of {share:.0%} of users, so it leaks the label"
            raise StageError(f"{error}; correct its feature group")


def lightgbm_params(params: Params, ranker: RankerParams, seed: int) -> dict:
    """Return the dict of parameters that LightGBM takes; equal inputs give equal trees.

    The number of threads is not among them. LightGBM then takes all processors that the process
    may use, or `OMP_NUM_THREADS`.
    """
    return {
        "objective": ranker.objective,
        "metric": ranker.metric,
        "eval_at": [ranker.eval_at],
        "learning_rate": params.learning_rate,
        "num_leaves": params.num_leaves,
        "min_data_in_leaf": params.min_data_in_leaf,
        "feature_fraction": params.feature_fraction,
        "bagging_fraction": params.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": params.lambda_l2,
        # LightGBM's default; pairs further down the list cost time and improve nothing.
        "lambdarank_truncation_level": 30,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def count_trees(advance: Advance) -> Callable[[lgb.callback.CallbackEnv], None]:
    """Return a LightGBM callback that counts each round, with its metric where it has one."""

    def callback(env: lgb.callback.CallbackEnv) -> None:
        notes = [f"{row[1]} {row[2]:.4f}" for row in env.evaluation_result_list or ()]
        advance(note=", ".join(notes))

    return callback


def train(
    examples: pl.DataFrame,
    params: Params,
    options: dict,
    seed: int,
    num_users: int | None = None,
    callbacks: Sequence[Callable] = (),
) -> Trained:
    """Choose the number of trees by cross-validation over users, then train on all of them.

    Args:
        examples: `KEYS` and features, sorted by snapshot and user_id.
        params: The number of trees and folds.
        options: From `lightgbm_params`.
        seed: The seed of the folds.
        num_users: Number of users of all workers, if `examples` holds the users of one worker.
        callbacks: LightGBM callbacks of the cross-validation.

    Raises:
        StageError: A feature leaks the label, or there are fewer users than folds.
    """
    features = [name for name in examples.columns if name not in KEYS]
    check_labels(examples, features)
    groups = examples.group_by([*GROUP, "source_user_id"], maintain_order=True).len()
    users, sizes = groups["source_user_id"].to_numpy(), groups["len"].to_numpy()
    show = partial(progress, enable=num_users is None)
    num_users = num_users or groups["user_id"].n_unique()

    def dataset() -> lgb.Dataset:
        values = examples.select(features).to_numpy(order="c")
        labels = examples["label"].to_numpy()
        return lgb.Dataset(values, labels, group=sizes, feature_name=features, params=options)

    folds = assign_folds(users, params.nfold, seed)
    rows = fold_rows(folds, users, sizes)
    early_stopping = lgb.early_stopping(params.early_stopping_rounds, verbose=False)
    with show("trees of the cross-validation", params.num_boost_round, may_end_early=True) as count:
        history = lgb.cv(
            options,
            dataset(),
            num_boost_round=params.num_boost_round,
            folds=rows if num_users <= MANY_USERS else rows[:1],
            callbacks=[*callbacks, count_trees(count), early_stopping],
            return_cvbooster=True,
        )
    fold_boosters = history.pop("cvbooster").boosters
    means = next(values for name, values in history.items() if name.endswith("-mean"))
    texts = [booster_text(booster, num_iteration=len(means)) for booster in fold_boosters]
    boosters = []
    for n in range(params.ensemble_size):
        booster_options = options | {"seed": seed + n}
        with show(f"trees of booster {n + 1}", len(means)) as count:
            callback = count_trees(count)
            boosters.append(lgb.train(booster_options, dataset(), len(means), callbacks=[callback]))
    return Trained(boosters, means[-1], Folds(folds, texts))


def main(name: str, examples: Path, models: Path, importance_tables: Path) -> str:
    """Write the boosters of the ranker `name` as text, and the importance of its features."""
    seed, ranker = read_seed(), load_params(RankerParams, f"rankers.{name}")
    tables = [
        read_table(examples / name / f"{snapshot}.parquet").select(
            pl.lit(number, pl.UInt8).alias("snapshot"), pl.all()
        )
        for number, snapshot in enumerate(RANKER_SNAPSHOTS)
    ]
    rows = pl.concat(tables)
    params = scale_to_users(load_params(Params, "lightgbm"), rows["user_id"].n_unique())
    options = lightgbm_params(params, ranker, seed)
    if backend() == "ray":
        from stages.parallel.ray_backend.ranker import train_on_ray

        check_labels(rows, [column for column in rows.columns if column not in KEYS])
        trained = train_on_ray(train, rows, params, options, seed)
    else:
        options["num_threads"] = openmp_threads()
        trained = train(rows, params, options, seed)
    boosters = trained.boosters
    write_booster_texts([booster_text(booster) for booster in boosters], models / name)
    write_folds(trained.folds, models / name)
    write_checksums(models / name)
    write_csv(importance(boosters), importance_tables / f"{name}.csv")
    trees = f"{len(boosters)} x {boosters[0].num_trees()} trees"
    return f"{rows.height:,} rows -> {trees}, cross-validated {ranker.metric} {trained.metric:.4f}"


if __name__ == "__main__":
    run_stage(main)
