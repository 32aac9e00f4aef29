"""Peers that combine the lists of all other peers: reciprocal rank fusion, and a LightGBM ranker.

Weak lists harm a fusion, so there is one of all lists, and one of those that help on validation.

RecTools' `CandidateRankingModel` serves the same purpose, but it makes its training rows by a split
of its own and fits all generators inside. Here the lists, the validation targets and the unseen
movies must be those of every other peer, so LightGBM is used directly.
"""

from collections.abc import Callable
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import polars as pl
import polars.selectors as cs

from benchmarks.peers.data import COUNT, CUTOFF
from stages.common.tables import RECOMMENDATIONS
from stages.fusion import fuse, merge
from stages.ranking.folds import assign_folds, fold_rows

RRF_K = 60  # of the paper (Cormack et al. 2009)
PAIR = ["user_id", "movie_id"]
LABEL = "label"
NUM_LEAVES = (7, 15, 31)
FOLDS, MAX_TREES, PATIENCE = 5, 400, 30
LIGHTGBM = {
    "objective": "lambdarank",
    "metric": "ndcg",
    "eval_at": [CUTOFF],
    "learning_rate": 0.05,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


def top_of_lists(lists: pl.DataFrame) -> pl.DataFrame:
    """Return the first `COUNT` movies of each user's RECOMMENDATIONS."""
    return lists.filter(pl.col("rank") <= COUNT)


def fused_lists(lists: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Return RECOMMENDATIONS by reciprocal rank fusion of RECOMMENDATIONS by peer."""
    return top_of_lists(fuse(merge(lists), list(lists), RRF_K))


def choose_lists(
    lists: dict[str, pl.DataFrame], metric: Callable[[pl.DataFrame], float]
) -> list[str]:
    """Return the peers whose fusion has the best metric, by greedy forward selection.

    Args:
        lists: RECOMMENDATIONS by peer.
        metric: Returns the metric of fused RECOMMENDATIONS on the validation targets.
    """
    names: list[str] = []
    best = -np.inf
    while len(names) < len(lists):
        metrics = {
            name: metric(fused_lists({n: lists[n] for n in [*names, name]}))
            for name in lists
            if name not in names
        }
        name = max(metrics, key=metrics.__getitem__)
        if metrics[name] <= best:
            break
        names, best = [*names, name], metrics[name]
    return names


def feature_table(
    lists: dict[str, pl.DataFrame],
    fused: pl.DataFrame,
    popularity: pl.DataFrame,
    history_lengths: pl.DataFrame,
) -> pl.DataFrame:
    """Return a row with features for every movie of any list.

    Args:
        lists: RECOMMENDATIONS by peer.
        fused: RECOMMENDATIONS of a fusion.
        popularity: POPULARITY of the snapshot.
        history_lengths: user_id and history_length.

    Returns:
        user_id, movie_id, the score (standardized within the user's list) and the rank in each
        list and the fused score, null where the list lacks the movie, positives (of the movie) and
        history_length; sorted by user and movie.
    """
    fused_scores = fused.select(*PAIR, fused_score="score")
    table = merge(lists).join(fused_scores, on=PAIR, how="left", maintain_order="left")
    scores = [pl.col(f"score_{name}") for name in lists]
    # A model has other scores when it is fitted again, so the ranker sees them within their list.
    table = table.with_columns(
        (score - score.mean().over("user_id")) / score.std().over("user_id") for score in scores
    )
    table = table.with_columns(cs.float().fill_nan(None))  # 0 / 0 where all scores are equal
    table = table.join(
        popularity.select("movie_id", "positives"),
        on="movie_id",
        how="left",
        maintain_order="left",
    )
    return table.join(history_lengths, on="user_id", how="left", maintain_order="left")


class Ranker(NamedTuple):
    """A booster, and the settings that cross-validation has chosen."""

    booster: lgb.Booster
    num_leaves: int
    trees: int
    metric: float  # cross-validated ndcg@10 of the users who have a target among their rows


def feature_values(table: pl.DataFrame) -> np.ndarray:
    """Return the [rows, features] float64 values, NaN where a value is null."""
    return table.drop(*PAIR, LABEL, strict=False).cast(pl.Float64).to_numpy(order="c")


def train_ranker(examples: pl.DataFrame, seed: int) -> Ranker:
    """Choose the leaves and the number of trees by cross-validation over users; train on all.

    Args:
        examples: From `stages.ranker_data.add_labels`, sorted by user.
        seed: The seed of the folds and of LightGBM.
    """
    groups = examples.group_by("user_id", maintain_order=True).len()
    users, sizes = groups["user_id"].to_numpy(), groups["len"].to_numpy()
    folds = fold_rows(assign_folds(users, FOLDS, seed), users, sizes)
    values, labels = feature_values(examples), examples[LABEL].to_numpy()

    def dataset(options: dict) -> lgb.Dataset:
        return lgb.Dataset(values, labels, group=sizes, params=options)

    trials = []
    for num_leaves in NUM_LEAVES:
        options = LIGHTGBM | {"num_leaves": num_leaves, "seed": seed}
        stop = lgb.early_stopping(PATIENCE, verbose=False)
        history = lgb.cv(options, dataset(options), MAX_TREES, folds=folds, callbacks=[stop])
        means = history[f"valid ndcg@{CUTOFF}-mean"]
        trials.append((max(means), options, len(means)))
    metric, options, trees = max(trials, key=lambda trial: trial[0])
    booster = lgb.train(options, dataset(options), trees)
    return Ranker(booster, options["num_leaves"], trees, metric)


def ranked_lists(table: pl.DataFrame, booster: lgb.Booster) -> pl.DataFrame:
    """Return RECOMMENDATIONS of the best rows of `feature_table` by the booster's score."""
    scores = booster.predict(feature_values(table), num_threads=1)
    scored = table.select(*PAIR, score=pl.Series(scores, dtype=pl.Float32))
    ordered = scored.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    ordered = ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))
    return top_of_lists(ordered).cast(dict(RECOMMENDATIONS))
