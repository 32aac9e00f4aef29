"""Stage: measure one system's test recommendations. The only reader of the test targets."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl

from stages.common.files import write_csv, write_json
from stages.common.params import Range, load_params
from stages.common.stage import StageError, run_stage
from stages.common.tables import (
    POPULARITY,
    RANKS,
    RECOMMENDATIONS,
    TEST,
    read_table,
    write_table,
)
from stages.metrics import COMPARED, target_ranks, user_metrics

LIST_LENGTH = 10  # of the lists whose coverage is measured
# (name of the slice's dimension, upper bounds of its groups)
ACTIVITY, POPULAR = ("history_length", [10, 50, 200]), ("likings", [0, 10, 100, 1000])


@dataclasses.dataclass(frozen=True)
class Params:
    """`cutoffs`: the values of k."""

    cutoffs: list[Annotated[int, Range(1, 10_000)]]


def rank_targets(
    recommendations: pl.DataFrame, targets: pl.DataFrame, popularity: pl.DataFrame
) -> pl.DataFrame:
    """RANKS of all TEST rows, whether or not the system recommended anything to the user."""
    table = targets.with_columns(target_ranks(recommendations, targets))
    table = table.join(
        popularity.select("movie_id", "likings"), on="movie_id", how="left", maintain_order="left"
    )
    return table.with_columns(pl.col("likings").fill_null(0))


def means(ranks: pl.DataFrame, cutoffs: list[int]) -> dict[str, float]:
    """Metrics averaged over the users of RANKS; `ceiling` is recall of the whole list."""
    table = user_metrics(ranks, cutoffs)
    found = ranks.group_by("user_id").agg(found=(pl.col("rank") > 0).mean())
    names = [f"{m}@{k}" for m in ("recall", "ndcg", "hit_rate", "precision") for k in cutoffs]
    averages = table.select(pl.col(*names, "mrr").mean()).row(0, named=True)
    return {"users": table.height, **averages, "ceiling": found["found"].mean()}


def coverage(recommendations: pl.DataFrame, users: pl.Series, movies: int) -> float:
    """Share of the `movies` candidates that stand in the first places of at least one list."""
    top = recommendations.filter(
        pl.col("rank") <= LIST_LENGTH, pl.col("user_id").is_in(users.implode())
    )
    return top["movie_id"].n_unique() / movies


def bounds(name: str, edges: list[int]) -> pl.Expr:
    """A label such as `11-50` for each value of the column `name`."""
    low = [0, *(edge + 1 for edge in edges)]
    label = pl.lit(f"{low[-1]}+")
    for start, end in reversed(list(zip(low, edges, strict=False))):
        text = str(end) if start == end else f"{start}-{end}"
        label = pl.when(pl.col(name) <= end).then(pl.lit(text)).otherwise(label)
    return label


def slices(ranks: pl.DataFrame, genres: pl.DataFrame, cutoffs: list[int]) -> pl.DataFrame:
    """Metrics by tied or untied target, by activity, by the target's likings and its genres.

    Returns:
        slice, value, users, then recall@k and ndcg@k of every cut-off.
    """
    flags = genres.unpivot(index="movie_id", variable_name="genre").filter(pl.col("value") == 1)
    by_genre = ranks.join(flags.drop("value"), on="movie_id", maintain_order="left")
    labelled = [
        ("target", ranks, pl.when("tied").then(pl.lit("tied")).otherwise(pl.lit("untied"))),
        ("activity", ranks, bounds(*ACTIVITY)),
        ("target_likings", ranks, bounds(*POPULAR)),
        ("genre", by_genre, pl.col("genre").str.strip_prefix("genre_")),
    ]
    rows = []
    for name, table, label in labelled:
        for (value,), part in table.group_by(label.alias("value")):
            figures = means(part, cutoffs)
            kept = {k: v for k, v in figures.items() if k.startswith(("users", "recall", "ndcg"))}
            rows.append({"slice": name, "value": value, **kept})
    return pl.DataFrame(rows).sort("slice", "value")


def main(
    recommendations: Path,
    targets: Path,
    popularity: Path,
    genres: Path,
    metrics: Path,
    slice_table: Path,
    ranks: Path,
) -> str:
    """Write the figures, the slices, and the rank of every target."""
    cutoffs = load_params(Params, "evaluate").cutoffs
    if not cutoffs:
        raise StageError("evaluate.cutoffs: is empty; write at least one k")
    lists, wanted = read_table(recommendations, RECOMMENDATIONS), read_table(targets, TEST)
    counts = read_table(popularity, POPULARITY)
    table = rank_targets(lists, wanted, counts)
    figures = means(table, cutoffs)
    candidates = int(np.count_nonzero(counts["likings"]))
    figures[f"coverage@{LIST_LENGTH}"] = coverage(lists, wanted["user_id"], candidates)
    write_json(figures, metrics)
    write_csv(slices(table, read_table(genres), cutoffs), slice_table)
    write_table(table, ranks, RANKS)
    shown = "".join(f", {name} {figures[name]:.4f}" for name in COMPARED if name in figures)
    return f"{lists.height:,} recommendations, {figures['users']:,} users{shown}"


if __name__ == "__main__":
    run_stage(main)
