"""Stage: train one LightGBM ranker on the early and the validation targets."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import lightgbm as lgb
import numpy as np
import polars as pl

from stages.common.files import write_csv
from stages.common.params import Range, load_params, read_section, read_seed
from stages.common.stage import StageError, run_stage, whole_file
from stages.common.tables import read_table
from stages.engine import chosen
from stages.folds import LEARNT

KEYS = ["fold", "user_id", "movie_id", "label"]
GROUP = KEYS[:2]
LEAK_USERS, LEAK_SHARE = 50, 0.95
# More users than these tell in one draw what few tell in several, and let trees learn faster.
ENOUGH_USERS, FASTER = 6500, 3


@dataclasses.dataclass(frozen=True)
class Params:
    """LightGBM's own parameters, and how many trees to look for with how many folds of users.

    `patience`: rounds without a better cross-validated metric; `bags`: how many boosters of
    different seeds are trained and averaged, because one alone depends much on its draws of
    features and rows; `threads` is fixed so that runs repeat. See `for_users` for large data.
    """

    learning_rate: Annotated[float, Range(1e-5, 1)]
    num_leaves: Annotated[int, Range(2, 10_000)]
    min_data_in_leaf: Annotated[int, Range(1, 1_000_000)]
    feature_fraction: Annotated[float, Range(0.01, 1)]
    bagging_fraction: Annotated[float, Range(0.01, 1)]
    lambda_l2: Annotated[float, Range(0, 1e6)]
    max_trees: Annotated[int, Range(1, 100_000)]
    patience: Annotated[int, Range(1, 100_000)]
    folds: Annotated[int, Range(2, 100)]
    bags: Annotated[int, Range(1, 100)]
    threads: Annotated[int, Range(1, 1024)]


def user_folds(
    users: np.ndarray, sizes: np.ndarray, count: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows for training and for validation, `count` times; no user is ever in both.

    Args:
        users: [groups] the user of each group of rows, in the table's order.
        sizes: [groups] rows of each group.
        count: Folds.
        seed: Of the users' shuffle.
    """
    everyone, place = np.unique(users, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(everyone)) % count
    rows = np.repeat(fold[place], sizes)
    return [(np.flatnonzero(rows != f), np.flatnonzero(rows == f)) for f in range(count)]


def for_users(params: Params, users: int) -> Params:
    """The same, or for more than `ENOUGH_USERS` users one bag of fewer trees that learn faster.

    The cost of ordering everybody's candidates is the number of all trees.
    """
    if users <= ENOUGH_USERS:
        return params
    return dataclasses.replace(
        params,
        learning_rate=min(1.0, FASTER * params.learning_rate),
        max_trees=math.ceil(params.max_trees / FASTER),
        bags=1,
    )


def check_labels(examples: pl.DataFrame, features: list[str]) -> None:
    """Refuse a feature that tells the label by itself: it can only be the answer.

    That is one by which the target stands strictly above, or strictly below, all other
    candidates of its user, for nearly every user; a missing value counts as the lowest.

    Raises:
        StageError: There is such a feature, among `LEAK_USERS` users or more.
    """
    target = pl.col("label") == 1
    tells = []
    for name in features:
        value = pl.col(name).fill_nan(None).fill_null(-np.inf)
        others = value.filter(~target)
        above = value.filter(target).min() > others.max()
        below = value.filter(target).max() < others.min()
        tells += [above.alias(f"{name} above"), below.alias(f"{name} below")]
    judged = examples.filter(target.any().over(GROUP) & (~target).any().over(GROUP))
    table = judged.group_by(GROUP).agg(tells).drop(GROUP)
    if table.height < LEAK_USERS:
        return
    for name, share in table.mean().row(0, named=True).items():
        if share is not None and share >= LEAK_SHARE:
            feature = name.rsplit(" ", 1)[0]
            raise StageError(f"{feature}: tells the label of {share:.0%} of users; it leaks")


def lightgbm_params(params: Params, objective: str, metric: str, cutoff: int, seed: int) -> dict:
    """The dict that LightGBM takes; equal inputs give equal trees."""
    return {
        "objective": objective,
        "metric": metric,
        "eval_at": [cutoff],
        "learning_rate": params.learning_rate,
        "num_leaves": params.num_leaves,
        "min_data_in_leaf": params.min_data_in_leaf,
        "feature_fraction": params.feature_fraction,
        "bagging_fraction": params.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": params.lambda_l2,
        # LightGBM's own; pairs further down the list cost time and changed nothing.
        "lambdarank_truncation_level": 30,
        "num_threads": params.threads,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def train(
    examples: pl.DataFrame,
    params: Params,
    options: dict,
    seed: int,
    users: int | None = None,
    callbacks: Sequence[Callable] = (),
) -> tuple[list[lgb.Booster], float]:
    """Choose the number of trees by cross-validation over users, then train on all of them.

    Args:
        examples: fold, user_id, movie_id, label and features, sorted by fold and user.
        params: Trees and folds.
        options: From `lightgbm_params`.
        seed: Of the folds.
        users: How many there are, where `examples` has a part of them only.
        callbacks: LightGBM's, of the cross-validation.

    Returns:
        Boosters, whose scores are to be averaged, and one's cross-validated metric.
    """
    features = [name for name in examples.columns if name not in KEYS]
    check_labels(examples, features)
    groups = examples.group_by(GROUP, maintain_order=True).len()
    owners, sizes = groups["user_id"].to_numpy(), groups["len"].to_numpy()
    count = users or groups["user_id"].n_unique()
    if count < params.folds:
        raise StageError(f"lightgbm.folds: {params.folds} folds of {count} users; set it lower")

    def dataset() -> lgb.Dataset:
        values = examples.select(features).to_numpy(order="c")
        labels = examples["label"].to_numpy()
        return lgb.Dataset(values, labels, group=sizes, feature_name=features, params=options)

    folds = user_folds(owners, sizes, params.folds, seed)
    found = lgb.cv(
        options,
        dataset(),
        num_boost_round=params.max_trees,
        folds=folds if count <= ENOUGH_USERS else folds[:1],
        callbacks=[*callbacks, lgb.early_stopping(params.patience, verbose=False)],
    )
    means = next(values for name, values in found.items() if name.endswith("-mean"))
    bags = [options | {"seed": seed + bag} for bag in range(params.bags)]
    return [lgb.train(bag, dataset(), num_boost_round=len(means)) for bag in bags], means[-1]


def importance(boosters: list[lgb.Booster]) -> pl.DataFrame:
    """Share of the total gain and number of splits by feature, most important first."""
    gain = np.sum([booster.feature_importance("gain") for booster in boosters], axis=0)
    splits = np.sum([booster.feature_importance("split") for booster in boosters], axis=0)
    table = pl.DataFrame(
        {
            "feature": boosters[0].feature_name(),
            "gain_share": gain / max(gain.sum(), 1e-12),
            "splits": splits,
        }
    )
    return table.sort(["gain_share", "feature"], descending=[True, False])


def main(name: str, examples: Path, model: Path, importance_table: Path) -> str:
    """Read the folds to learn from; write the boosters as text, and their feature importance."""
    seed = read_seed()
    ranker = {k: read_section(f"rankers.{name}.{k}") for k in ("objective", "metric", "cutoff")}
    tables = [
        read_table(examples / f"{fold}.parquet").select(pl.lit(n, pl.UInt8).alias("fold"), pl.all())
        for n, fold in enumerate(LEARNT)
    ]
    learnt = pl.concat(tables)
    params = for_users(load_params(Params, "lightgbm"), learnt["user_id"].n_unique())
    options = lightgbm_params(params, **ranker, seed=seed)
    if chosen() == "ray":
        from stages.cluster_ranker import train_on_ray

        check_labels(learnt, [name for name in learnt.columns if name not in KEYS])
        boosters, metric = train_on_ray(train, learnt, params, options, seed)
    else:
        boosters, metric = train(learnt, params, options, seed)
    for bag, booster in enumerate(boosters):
        with whole_file(model / f"{bag}.txt") as temporary:
            temporary.write_text(booster.model_to_string(), encoding="utf-8")
    write_csv(importance(boosters), importance_table)
    trees = boosters[0].num_trees()
    found = f"{len(boosters)} x {trees} trees, cross-validated {ranker['metric']} {metric:.4f}"
    return f"{learnt.height:,} rows -> {found}"


if __name__ == "__main__":
    run_stage(main)
