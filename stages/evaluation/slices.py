"""Metrics of groups of targets."""

import numpy as np
import polars as pl

from stages.evaluation.metrics import user_metrics

# Upper bounds of the ranges of two kinds of slices; the last range is open.
HISTORY_LENGTH_BOUNDS = [10, 50, 200]
POSITIVES_BOUNDS = [0, 10, 100, 1000]
SLICE_INTERVALS = ["recall@10", "ndcg@10"]


def range_label(column: str, bounds: list[int]) -> pl.Expr:
    """Return the label of the range that each value of `column` is in.

    For example, the upper bounds [0, 10, 50] make the labels `0`, `1-10`, `11-50` and `51+`.
    """
    starts = [0, *(bound + 1 for bound in bounds)]
    label = pl.lit(f"{starts[-1]}+")
    for start, end in reversed(list(zip(starts, bounds, strict=False))):
        text = str(end) if start == end else f"{start}-{end}"
        label = pl.when(pl.col(column) <= end).then(pl.lit(text)).otherwise(label)
    return label


def slice_metrics(ranks: pl.DataFrame, genres: pl.DataFrame, cutoffs: list[int]) -> pl.DataFrame:
    """Measure groups of targets apart.

        target            tied with the positive before it, or untied
        user              known to the models, or new
        activity          by the user's number of positives before the query
        target_positives  by the number of positives of the target's movie
        genre             one group per genre; a movie with several genres is in several groups

    Args:
        ranks: RANKS of one system.
        genres: movie_id, and a 0/1 column `genre_<name>` per genre.
        cutoffs: The values of k.

    Returns:
        slice, value, users, then recall@k and ndcg@k at every cutoff, and the ends of the 95%
        intervals of `SLICE_INTERVALS`, <metric>_low and <metric>_high.
    """
    flags = genres.unpivot(index="movie_id", variable_name="genre").filter(pl.col("value") == 1)
    by_genre = ranks.join(flags.drop("value"), on="movie_id", maintain_order="left")
    slices = [
        ("target", ranks, pl.when("tied").then(pl.lit("tied")).otherwise(pl.lit("untied"))),
        ("user", ranks, pl.when("new_user").then(pl.lit("new")).otherwise(pl.lit("known"))),
        ("activity", ranks, range_label("history_length", HISTORY_LENGTH_BOUNDS)),
        ("target_positives", ranks, range_label("positives", POSITIVES_BOUNDS)),
        ("genre", by_genre, pl.col("genre").str.strip_prefix("genre_")),
    ]
    metrics = [f"{name}@{k}" for name in ("recall", "ndcg") for k in cutoffs]
    rows = []
    for name, table, label in slices:
        for (value,), group in table.group_by(label.alias("value")):
            users = user_metrics(group, cutoffs)
            means = users.select(pl.col(metrics).mean()).row(0, named=True)
            counts = {"slice": name, "value": value, "users": users.height}
            rows.append(counts | means | plus_four_intervals(users, SLICE_INTERVALS))
    return pl.DataFrame(rows).sort("slice", "value")


def plus_four_intervals(users: pl.DataFrame, metrics: list[str]) -> dict[str, float]:
    """Return the ends of the 95% intervals of the means of `metrics`.

    Two zeros and two ones are added to the users (Agresti and Coull 1998), because a slice may
    have few users, or the same value for all: 15 users without a hit do not prove a recall of 0.

    Args:
        users: `user_metrics`, one row per user, with values from 0 to 1.
        metrics: Names of its columns.
    """
    ends = {}
    for metric in metrics:
        values = np.append(users[metric].to_numpy(), [0.0, 0.0, 1.0, 1.0])
        error = 1.96 * values.std() / len(values) ** 0.5
        ends[f"{metric}_low"] = max(0.0, values.mean() - error)
        ends[f"{metric}_high"] = min(1.0, values.mean() + error)
    return ends
