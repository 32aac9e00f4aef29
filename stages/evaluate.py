"""Stage: measure every system's recommendations on the test targets.

No other stage reads the test targets (tests/pipeline/test_dvc_yaml.py).
"""

from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field

from stages.common.files import write_csv, write_json
from stages.common.params import Section, load_params
from stages.common.stage import StageError, run_stage
from stages.common.systems import (
    FUSION,
    block_names,
    generator_names,
    ranker_system,
    refuse_leftovers,
    system_list_paths,
    system_names,
)
from stages.common.tables import (
    POPULARITY,
    RANKS,
    RECOMMENDATIONS,
    TEST,
    read_table,
    write_table,
)
from stages.evaluation.metrics import (
    AT_K,
    leaderboard_columns,
    list_metrics,
    mean_metrics,
    target_ranks,
)

# Upper bounds of the ranges of two kinds of slices; the last range is open.
HISTORY_LENGTH_BOUNDS = [10, 50, 200]
POSITIVES_BOUNDS = [0, 10, 100, 1000]


class Params(Section):
    """Cutoffs of the metrics."""

    cutoffs: list[Annotated[int, Field(ge=1, le=10_000)]]
    """The values of k at which the metrics of the top k are computed."""


def build_ranks(
    recommendations: pl.DataFrame, targets: pl.DataFrame, popularity: pl.DataFrame
) -> pl.DataFrame:
    """Return RANKS with a row for every target, also of users without recommendations.

    Args:
        recommendations: RECOMMENDATIONS of one system.
        targets: TEST.
        popularity: POPULARITY of the snapshot `test`.
    """
    table = targets.with_columns(target_ranks(recommendations, targets))
    table = table.join(
        popularity.select("movie_id", "positives"),
        on="movie_id",
        how="left",
        maintain_order="left",
    )
    return table.with_columns(pl.col("positives").fill_null(0))


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

    The slices: `target` (tied or untied), `activity` (the user's number of positives),
    `target_positives` (the movie's number of positives) and `genre` (one group per genre; a movie
    with several genres is in several groups).

    Args:
        ranks: RANKS of one system.
        genres: movie_id, and a 0/1 column `genre_<name>` per genre.
        cutoffs: The values of k.

    Returns:
        slice, value, users, then recall@k and ndcg@k at every cutoff.
    """
    flags = genres.unpivot(index="movie_id", variable_name="genre").filter(pl.col("value") == 1)
    by_genre = ranks.join(flags.drop("value"), on="movie_id", maintain_order="left")
    slices = [
        ("target", ranks, pl.when("tied").then(pl.lit("tied")).otherwise(pl.lit("untied"))),
        ("activity", ranks, range_label("history_length", HISTORY_LENGTH_BOUNDS)),
        ("target_positives", ranks, range_label("positives", POSITIVES_BOUNDS)),
        ("genre", by_genre, pl.col("genre").str.strip_prefix("genre_")),
    ]
    metrics = ["users", *(f"{name}@{k}" for name in ("recall", "ndcg") for k in cutoffs)]
    rows = []
    for name, table, label in slices:
        for (value,), group in table.group_by(label.alias("value")):
            means = mean_metrics(group, cutoffs)
            rows.append({"slice": name, "value": value} | {k: means[k] for k in metrics})
    return pl.DataFrame(rows).sort("slice", "value")


def check_cutoffs(cutoffs: list[int]) -> None:
    """Raise a StageError if a column of the leaderboard needs a cutoff that is missing."""
    if not cutoffs:
        raise StageError("evaluate.cutoffs: is empty; write at least one k")
    for column in leaderboard_columns():
        name, _, k = column.partition("@")
        if name in AT_K and int(k) not in cutoffs:
            raise StageError(f"evaluate.cutoffs: lacks the k of {column}; add {k}")


def main(
    *,
    candidates: Path,
    recommendations: Path,
    targets: Path,
    movies: Path,
    metrics: Path,
    slices: Path,
    ranks: Path,
) -> str:
    """Write each system's metrics, its metrics by slice, and its rank of every target."""
    cutoffs = load_params(Params, "evaluate").cutoffs
    check_cutoffs(cutoffs)
    systems = system_names()
    refuse_leftovers(candidates, generator_names())
    refuse_leftovers(recommendations, [FUSION, *map(ranker_system, block_names("rankers"))])
    paths = system_list_paths(systems, candidates, recommendations)
    test, genres = read_table(targets, TEST), read_table(movies / "genres.parquet")
    popularity = read_table(movies / "popularity" / "test.parquet", POPULARITY)
    for system, path in paths.items():
        lists = read_table(path, RECOMMENDATIONS)
        table = build_ranks(lists, test, popularity)
        means = mean_metrics(table, cutoffs) | list_metrics(lists, test["user_id"], popularity)
        write_json(means, metrics / f"{system}.json")
        write_csv(slice_metrics(table, genres, cutoffs), slices / f"{system}.csv")
        write_table(table, ranks / f"{system}.parquet", RANKS)
    return f"{len(systems)} systems, {test['user_id'].n_unique():,} users"


if __name__ == "__main__":
    run_stage(main)
