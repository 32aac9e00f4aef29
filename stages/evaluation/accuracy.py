"""Recall, ndcg and mrr of every user, from the ranks of the user's targets.

Retrievers are validated by these, so this module is apart from `stages.evaluation.metrics`: a new
metric there retrains nothing.
"""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

MRR = "mrr"
# The metrics that systems are compared by, with confidence intervals.
MAIN_METRICS = ["ndcg@10", "recall@10", "recall@200"]
MAIN_CUTOFFS = sorted({int(metric.partition("@")[2]) for metric in MAIN_METRICS})


def hits(k: int) -> pl.Expr:
    """The number of a user's targets in the top k."""
    return pl.col(f"hits@{k}")


def recall(k: int) -> pl.Expr:
    """The share of a user's targets that are in the top k."""
    return hits(k) / pl.col("targets")


def ndcg(k: int) -> pl.Expr:
    """The gain of the targets in the top k, divided by the largest possible gain.

    The gain of a target is 1 / log2(rank + 1) (Järvelin and Kekäläinen 2002, binary relevance).
    """
    return pl.col(f"gains@{k}") / pl.col(f"ideal_gain@{k}")


MAIN_ACCURACY = {"recall": recall, "ndcg": ndcg}


def user_accuracy(
    ranks: pl.DataFrame,
    cutoffs: list[int],
    metrics: Mapping[str, Callable[[int], pl.Expr]] = MAIN_ACCURACY,
) -> pl.DataFrame:
    """Compute metrics of the top k at every cutoff, and mrr, for every user.

    mrr is 1 / rank of the user's best-ranked target, 0 if no target was recommended.

    Args:
        ranks: user_id and rank (0 = not recommended), one row per target.
        cutoffs: The values of k.
        metrics: By name a function of k that returns the metric of a user from the columns
            `hits@k` (targets in the top k), `gains@k` (their sum of 1 / log2(rank + 1)),
            `ideal_gain@k` (its largest possible value) and `targets` (their number).

    Returns:
        user_id, mrr, and <metric>@<k>; one row per user, in the order of `ranks`.
    """
    rank, count = pl.col("rank").cast(pl.Int64), pl.len().cast(pl.Int64)
    rows = [pl.when(rank > 0).then(1 / rank).otherwise(0.0).alias(MRR)]
    sums, ideals, columns = [pl.col(MRR).max(), count.alias("targets")], [], []
    ideal_gains = np.cumsum(1 / np.log2(np.arange(2, max(cutoffs) + 2)))
    for k in cutoffs:
        hit, hit_count, gains = rank.is_between(1, k), f"hits@{k}", f"gains@{k}"
        gain = pl.when(hit).then(1 / (rank + 1).log(2)).otherwise(0.0)
        rows += [hit.cast(pl.Int64).alias(hit_count), gain.alias(gains)]
        sums += [pl.col(hit_count).sum(), pl.col(gains).sum()]
        ideal = pl.lit(pl.Series(ideal_gains)).gather(pl.col("targets").clip(upper_bound=k) - 1)
        ideals.append(ideal.alias(f"ideal_gain@{k}"))
        columns += [metric(k).alias(f"{name}@{k}") for name, metric in metrics.items()]
    users = ranks.select("user_id", *rows).group_by("user_id", maintain_order=True).agg(sums)
    return users.with_columns(ideals).select("user_id", MRR, *columns)
