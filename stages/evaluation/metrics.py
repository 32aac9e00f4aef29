"""Accuracy metrics from the ranks of the targets, and metrics of the lists themselves.

All metrics are defined here. To add an accuracy metric of the top k, add a line to `AT_K`: it is
measured for every system, and shown on the leaderboard at the cutoffs that it names. To add a
metric of the lists, add it to `list_metrics`, and to `leaderboard_columns` to show it there.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from stages.data.pairs import concat_ranges
from stages.evaluation.accuracy import MRR, hits, ndcg, recall, user_accuracy

RANK_BATCH_TARGETS = 4096  # bounds the rows that are compared with their targets at once
LIST_LENGTH = 10  # `list_metrics` look at the top 10 of a list


class AtK(NamedTuple):
    """A metric of the top k of a user's list."""

    per_user: Callable[[int], pl.Expr]
    """Takes k and returns the metric; see `stages.evaluation.accuracy.user_accuracy`."""

    leaderboard: tuple[int, ...] = ()
    """The cutoffs that have a column on the leaderboard."""

    needs_several_targets: bool = False
    """Whether the metric follows from recall where no user has several targets; it is left out of
    the means then."""


AT_K = {
    "recall": AtK(recall, (1, 10, 20, 50, 200)),
    "ndcg": AtK(ndcg, (10, 20, 200)),
    # 1 if any target is in the top k. Equal to recall for a user with one target.
    "hit_rate": AtK(lambda k: (hits(k) > 0).cast(pl.Float64), needs_several_targets=True),
    # The number of targets in the top k, divided by k: recall / k for a user with one target.
    "precision": AtK(lambda k: hits(k) / k, needs_several_targets=True),
}
COVERAGE = f"coverage@{LIST_LENGTH}"


def leaderboard_columns() -> list[str]:
    """Return the names of the metrics on the leaderboard, in their order."""
    at_k = [f"{name}@{k}" for name, metric in AT_K.items() for k in metric.leaderboard]
    return [*at_k, MRR, COVERAGE]


def rank_systems(board: Mapping[str, Mapping[str, float]], systems: list[str]) -> list[str]:
    """Return `systems` ordered by their ndcg@10 on the leaderboard, best first.

    Systems with equal values keep their order.
    """
    return sorted(systems, key=lambda system: -board[system]["ndcg@10"])


def target_ranks(recommendations: pl.DataFrame, targets: pl.DataFrame) -> pl.Series:
    """Return the rank of each target among its user's recommendations, 0 where it is missing.

    Ranks are pessimistic: a target is ranked behind all other movies with the same score. For
    example, for a user with the scores a: .9, b: .5, c: .5, d: .1

        target a   1 movie with a score >= .9    rank 1
        target b   3 movies with a score >= .5   rank 3
        target e   not in the list               rank 0

    If both b and c are targets, the first of them in `targets` gets rank 2 and the other rank 3.

    Args:
        recommendations: RECOMMENDATIONS, in any order.
        targets: user_id and movie_id, one row per target.

    Returns:
        UInt16 ranks, one per row of `targets`.

    Raises:
        ValueError: A score is NaN, which cannot be ordered.
    """
    lists = recommendations.select("user_id", "movie_id", "score")
    if lists["score"].is_nan().any():
        raise ValueError("a score is NaN")
    if not lists["user_id"].is_sorted():
        lists = lists.sort("user_id")
    users, movies, scores = (lists[name].to_numpy() for name in lists.columns)
    target_users, target_movies = targets["user_id"].to_numpy(), targets["movie_id"].to_numpy()
    starts = np.searchsorted(users, target_users)
    sizes = np.searchsorted(users, target_users, side="right") - starts
    worst_ranks = np.zeros(len(target_users), dtype=np.int64)
    for start in range(0, len(target_users), RANK_BATCH_TARGETS):
        batch = slice(start, start + RANK_BATCH_TARGETS)
        rows = concat_ranges(starts[batch], sizes[batch])
        index = np.repeat(np.arange(len(sizes[batch])), sizes[batch])  # of each row's target
        is_target = movies[rows] == target_movies[batch][index]
        # A target that is not in the list keeps NaN. No score is >= NaN, so its rank is 0.
        target_scores = np.full(len(sizes[batch]), np.nan)
        target_scores[index[is_target]] = scores[rows[is_target]]
        at_least = index[scores[rows] >= target_scores[index]]
        worst_ranks[batch] = np.bincount(at_least, minlength=len(target_scores))
    # Targets of one user with equal scores have the same worst rank: count backwards from it.
    worst_rank = pl.col("worst_rank")
    targets_after = (pl.len() - 1 - pl.int_range(pl.len())).over("user_id", "worst_rank")
    rank = pl.when(worst_rank > 0).then(worst_rank - targets_after).otherwise(0)
    table = targets.select("user_id", worst_rank=pl.Series(worst_ranks))
    return table.select(rank=rank.cast(pl.UInt16))["rank"]


def user_metrics(ranks: pl.DataFrame, cutoffs: list[int]) -> pl.DataFrame:
    """Compute every metric of `AT_K` at every cutoff, and mrr, for every user.

    A user with several queries gets the mean over them, so that all users have the same weight.

    Args:
        ranks: user_id and rank (0 = not recommended), one row per target; source_user_id where
            a user may have several queries.
        cutoffs: The values of k.

    Returns:
        user_id (of the ratings), mrr, and <metric>@<k>; one row per user, in the order of `ranks`.
    """
    metrics = {name: metric.per_user for name, metric in AT_K.items()}
    return mean_by_user(user_accuracy(ranks, cutoffs, metrics), ranks)


def mean_by_user(values: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    """Return the means of a user's queries.

    Args:
        values: user_id (of the queries) and figures.
        queries: user_id and source_user_id; rows may repeat. Without source_user_id, each user
            has one query.

    Returns:
        user_id (of the ratings) and the figures, in the order of `values`.
    """
    if "source_user_id" not in queries.columns:
        return values
    users = queries.select("user_id", "source_user_id").unique()
    table = values.join(users, on="user_id", how="left", maintain_order="left")
    table = table.drop("user_id").rename({"source_user_id": "user_id"})
    return table.group_by("user_id", maintain_order=True).agg(pl.all().mean())


def mean_metrics(ranks: pl.DataFrame, cutoffs: list[int]) -> dict[str, float]:
    """Return the number of users, and the mean over users of every metric.

    `candidate_recall` is recall without a cutoff: the share of the targets anywhere in a list.

    Args:
        ranks: RANKS.
        cutoffs: The values of k.
    """
    table = user_metrics(ranks, cutoffs)
    shares = ranks.group_by("user_id", maintain_order=True).agg(hit=(pl.col("rank") > 0).mean())
    shares = mean_by_user(shares, ranks)
    has_several = ranks["user_id"].is_duplicated().any()
    names = [
        f"{name}@{k}"
        for name, metric in AT_K.items()
        for k in cutoffs
        if has_several or not metric.needs_several_targets
    ]
    means = table.select(pl.col(*names, MRR).mean()).row(0, named=True)
    return {"users": table.height, **means, "candidate_recall": shares["hit"].mean()}


def list_metrics(
    recommendations: pl.DataFrame, users: pl.Series, popularity: pl.DataFrame
) -> dict[str, float]:
    """Return the metrics of the top `LIST_LENGTH` of all users' lists.

    `coverage` is the share of the candidates that are in the top of at least one user's list.

    Args:
        recommendations: RECOMMENDATIONS of one system.
        users: The users who are evaluated.
        popularity: POPULARITY of the snapshot `test`; movies with a positive are candidates.
    """
    top = recommendations.filter(
        pl.col("rank") <= LIST_LENGTH, pl.col("user_id").is_in(users.implode())
    )
    candidates = int(np.count_nonzero(popularity["positives"]))
    return {COVERAGE: top["movie_id"].n_unique() / candidates}
