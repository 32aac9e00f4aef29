"""Stage: measure every system's recommendations on the test targets.

No other stage reads the test targets (tests/pipeline/test_dvc_yaml.py).
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field

from stages.common.files import write_csv, write_json
from stages.common.params import Section, load_params, read_value
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
from stages.data.pairs import isin_sorted, pair_keys, sorted_pair_keys
from stages.data.snapshots import TEST_SNAPSHOT, read_seen
from stages.evaluation.metrics import (
    AT_K,
    leaderboard_columns,
    list_metrics,
    mean_metrics,
    target_ranks,
)
from stages.evaluation.slices import slice_metrics


class Params(Section):
    """How lists are measured."""

    cutoffs: list[Annotated[int, Field(ge=1, le=10_000)]]
    """The values of k at which the metrics of the top k are computed."""

    item_vectors: str
    """The retriever whose movie vectors measure the diversity of lists (`beyond_accuracy`)."""


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


def refuse_seen(recommendations: pl.DataFrame, seen: np.ndarray, path: Path) -> None:
    """Raise a StageError if a list holds a movie that its user has seen.

    Args:
        recommendations: RECOMMENDATIONS.
        seen: Sorted keys of the pairs of SEEN.
        path: The file of the recommendations, for the message.
    """
    users, movies = (recommendations[name].to_numpy() for name in ("user_id", "movie_id"))
    is_seen = isin_sorted(seen, pair_keys(users, movies))
    if is_seen.any():
        user, movie = users[is_seen][0], movies[is_seen][0]
        raise StageError(
            f"{path}: {is_seen.sum()} movies are seen, as movie {movie} by user {user}; "
            "apply data/seen, as `take_unseen` does"
        )


def check_cutoffs(cutoffs: list[int]) -> None:
    """Raise a StageError if a column of the leaderboard needs a cutoff that is missing."""
    if not cutoffs:
        raise StageError("evaluate.cutoffs: is empty; write at least one k")
    for column in leaderboard_columns():
        name, _, k = column.partition("@")
        if name in AT_K and int(k) not in cutoffs:
            raise StageError(f"evaluate.cutoffs: lacks the k of {column}; add {k}")


def check_list_length(cutoffs: list[int], count: int) -> None:
    """Raise a StageError if a cutoff is above `count`, the length of the generators' lists.

    The lists of fusion and of the rankers are longer, so recall would compare unequal lengths.
    """
    if max(cutoffs) > count:
        raise StageError(
            f"evaluate.cutoffs: {max(cutoffs)} is above candidates.count, {count}; "
            f"set candidates.count to at least {max(cutoffs)}, or remove the cutoff"
        )


def main(
    *,
    candidates: Path,
    recommendations: Path,
    targets: Path,
    movies: Path,
    seen: Path,
    metrics: Path,
    slices: Path,
    ranks: Path,
) -> str:
    """Write each system's metrics, its metrics by slice, and its rank of every target."""
    cutoffs = load_params(Params, "evaluate").cutoffs
    check_cutoffs(cutoffs)
    check_list_length(cutoffs, read_value("candidates.count", int))
    systems = system_names()
    refuse_leftovers(candidates, generator_names())
    refuse_leftovers(recommendations, [FUSION, *map(ranker_system, block_names("rankers"))])
    paths = system_list_paths(systems, candidates, recommendations)
    test, genres = read_table(targets, TEST), read_table(movies / "genres.parquet")
    popularity = read_table(movies / "popularity" / "test.parquet", POPULARITY)
    seen_keys = sorted_pair_keys(read_seen(seen, TEST_SNAPSHOT))
    for system, path in paths.items():
        lists = read_table(path, RECOMMENDATIONS)
        refuse_seen(lists, seen_keys, path)
        table = build_ranks(lists, test, popularity)
        means = mean_metrics(table, cutoffs) | list_metrics(lists, test["user_id"], popularity)
        write_json(means, metrics / f"{system}.json")
        write_csv(slice_metrics(table, genres, cutoffs), slices / f"{system}.csv")
        write_table(table, ranks / f"{system}.parquet", RANKS)
    return f"{len(systems)} systems, {test['source_user_id'].n_unique():,} users"


if __name__ == "__main__":
    run_stage(main)
