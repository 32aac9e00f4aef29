"""Ranking metrics from the ranks of the targets; averaged over users."""

import numpy as np
import polars as pl

from stages.pairs import spans

TARGETS_AT_ONCE = 4096
COMPARED = ["ndcg@10", "recall@10", "recall@200"]  # what models are compared by


def target_ranks(recommendations: pl.DataFrame, targets: pl.DataFrame) -> pl.Series:
    """The rank of each target among its user's recommendations, 0 where it is not there.

    Ranks are pessimistic: targets count as placed behind all other movies of an equal score.

    Args:
        recommendations: RECOMMENDATIONS; they need not be sorted.
        targets: user_id and movie_id, one row per target.

    Raises:
        ValueError: A score is NaN, which has no place in an order.
    """
    lists = recommendations.select("user_id", "movie_id", "score")
    if lists["score"].is_nan().any():
        raise ValueError("a score is NaN")
    if not lists["user_id"].is_sorted():
        lists = lists.sort("user_id")
    users, movies, scores = (lists[name].to_numpy() for name in lists.columns)
    owners, wanted = targets["user_id"].to_numpy(), targets["movie_id"].to_numpy()
    first = np.searchsorted(users, owners)
    sizes = np.searchsorted(users, owners, side="right") - first
    worst = np.zeros(len(owners), dtype=np.int64)
    for start in range(0, len(owners), TARGETS_AT_ONCE):
        part = slice(start, start + TARGETS_AT_ONCE)
        rows = spans(first[part], sizes[part])
        target = np.repeat(np.arange(len(sizes[part])), sizes[part])
        found = movies[rows] == wanted[part][target]
        own = np.full(len(sizes[part]), np.nan)  # nothing is as good as a target that is not there
        own[target[found]] = scores[rows[found]]
        worst[part] = np.bincount(target[scores[rows] >= own[target]], minlength=len(own))
    # Targets of one user and score share the last places among their equals.
    equals_after = (pl.len() - 1 - pl.int_range(pl.len())).over("user_id", "worst")
    rank = pl.when(pl.col("worst") > 0).then(pl.col("worst") - equals_after).otherwise(0)
    ranked = targets.select("user_id", worst=pl.Series(worst))
    return ranked.select(rank=rank.cast(pl.UInt16))["rank"]


def user_metrics(ranks: pl.DataFrame, cutoffs: list[int]) -> pl.DataFrame:
    """One row per user: recall@k, hit_rate@k, precision@k, ndcg@k for every cut-off, and mrr.

    - recall@k: the share of the user's targets at ranks up to k.
    - hit_rate@k: 1 if any target is there. With one target a user it equals recall@k.
    - precision@k: the number of targets there, divided by k.
    - ndcg@k: the sum of 1 / log2(rank + 1) over them, divided by its best possible value
      (Järvelin and Kekäläinen 2002, binary relevance).
    - mrr: 1 / rank of the best-placed target, 0 if none was recommended.

    Args:
        ranks: user_id and rank (0 = not recommended), one row per target.
        cutoffs: The values of k.
    """
    rank, count = pl.col("rank").cast(pl.Int64), pl.len().cast(pl.Int64)
    rows = [pl.when(rank > 0).then(1 / rank).otherwise(0.0).alias("mrr")]
    sums, metrics = [pl.col("mrr").max(), count.alias("targets")], []
    ideal_gains = np.cumsum(1 / np.log2(np.arange(2, max(cutoffs) + 2)))
    for k in cutoffs:
        hit, hits, gains = rank.is_between(1, k), f"hits@{k}", f"gains@{k}"
        gain = pl.when(hit).then(1 / (rank + 1).log(2)).otherwise(0.0)
        rows += [hit.cast(pl.Int64).alias(hits), gain.alias(gains)]
        sums += [pl.col(hits).sum(), pl.col(gains).sum()]
        best = pl.lit(pl.Series(ideal_gains)).gather(pl.col("targets").clip(upper_bound=k) - 1)
        metrics += [
            (pl.col(hits) / pl.col("targets")).alias(f"recall@{k}"),
            (pl.col(hits) > 0).cast(pl.Float64).alias(f"hit_rate@{k}"),
            (pl.col(hits) / k).alias(f"precision@{k}"),
            (pl.col(gains) / best).alias(f"ndcg@{k}"),
        ]
    users = ranks.select("user_id", *rows).group_by("user_id", maintain_order=True).agg(sums)
    return users.select("user_id", "mrr", *metrics)
