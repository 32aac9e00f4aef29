"""Stage: write the small tables behind the plots; no table names a user."""

from pathlib import Path

import polars as pl

from stages.common.files import read_csv, read_json, write_csv
from stages.common.params import load_params, read_seed
from stages.common.stage import StageError, run_stage
from stages.common.systems import (
    LeaderboardParams,
    block_names,
    refuse_leftovers,
    system_list_paths,
    system_names,
)
from stages.common.tables import POPULARITY, RANKS, RECOMMENDATIONS, read_table
from stages.evaluation.accuracy import MAIN_CUTOFFS, MAIN_METRICS
from stages.evaluation.bootstrap import mean_intervals
from stages.evaluation.metrics import COVERAGE, LIST_LENGTH, user_metrics

CUTOFFS = [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200]  # for a logarithmic axis
NUM_DECILES = 10
NUM_FEATURES = 20  # the most important features of a ranker
POSITIVES_LABEL = "(positives)"  # in the column `system`, for the share of all positives


def metrics_at_k(ranks: dict[str, pl.DataFrame], cutoffs: list[int]) -> pl.DataFrame:
    """Return system, k, and the means over users of recall and ndcg at k.

    Args:
        ranks: RANKS by system.
        cutoffs: The values of k.
    """
    tables = []
    for system, table in ranks.items():
        means = user_metrics(table, cutoffs).mean()
        columns = {
            name: means.select(f"{name}@{k}" for k in cutoffs).row(0) for name in ("recall", "ndcg")
        }
        rows = pl.DataFrame({"k": cutoffs, **columns})
        tables.append(rows.select(pl.lit(system).alias("system"), pl.all()))
    return pl.concat(tables)


def main_metrics(ranks: dict[str, pl.DataFrame], resamples: int, seed: int) -> pl.DataFrame:
    """Return `mean_intervals` of the main metrics; metrics/intervals.csv compares systems.

    Args:
        ranks: RANKS by system, of the same users.
        resamples: The number of bootstrap samples.
        seed: The seed of the samples.
    """
    tables = {s: user_metrics(table, MAIN_CUTOFFS).sort("user_id") for s, table in ranks.items()}
    return mean_intervals(tables, MAIN_METRICS, resamples, seed)


def popularity_deciles(popularity: pl.DataFrame) -> pl.DataFrame:
    """Return movie_id, positives and decile of the movies with a positive; 1 = most popular."""
    movies = popularity.filter(pl.col("positives") > 0).sort("popularity_rank")
    index = pl.int_range(pl.len(), dtype=pl.Int64)
    return movies.select("movie_id", "positives", decile=index * NUM_DECILES // pl.len() + 1)


def long_tail(
    recommendations: dict[str, pl.DataFrame], users: pl.Series, popularity: pl.DataFrame
) -> pl.DataFrame:
    """Return the share of every popularity decile among the top recommendations.

    Args:
        recommendations: RECOMMENDATIONS by system; only the top `LIST_LENGTH` count.
        users: The users who are evaluated.
        popularity: POPULARITY of the snapshot `test`.

    Returns:
        system, decile, share. A system has a row for every decile, and its shares add up to 1.
        The rows of `POSITIVES_LABEL` have the deciles' shares of all positives.
    """
    movies = popularity_deciles(popularity)
    positives = pl.col("positives").cast(pl.Int64)
    weights = {POSITIVES_LABEL: movies.select("decile", weight=positives)}
    for system, table in recommendations.items():
        top = table.filter(pl.col("rank") <= LIST_LENGTH, pl.col("user_id").is_in(users.implode()))
        top = top.join(movies, on="movie_id", maintain_order="left")
        weights[system] = top.select("decile", weight=pl.lit(1, pl.Int64))
    deciles = pl.DataFrame({"decile": range(1, NUM_DECILES + 1)}, schema={"decile": pl.Int64})
    shares = [
        deciles.join(
            table.group_by("decile").agg(pl.col("weight").sum()),
            on="decile",
            how="left",
            maintain_order="left",
        ).select(
            pl.lit(system).alias("system"),
            "decile",
            share=pl.col("weight").fill_null(0) / pl.col("weight").sum(),
        )
        for system, table in weights.items()
    ]
    return pl.concat(shares)


def concat_tables(
    folder: Path, names: list[str], key: str, rows: int | None = None
) -> pl.DataFrame:
    """Concatenate the files `folder`/<name>.csv.

    Args:
        folder: Holds one file per name, and no other files.
        names: The names, in the order of the result.
        key: The first column of the result, which holds the name.
        rows: The number of rows to read from the start of each file; None for all.

    Raises:
        StageError: A file is missing, or belongs to none of the names.
    """
    refuse_leftovers(folder, names)
    tables = [
        read_csv(folder / f"{name}.csv")[:rows].select(pl.lit(name).alias(key), pl.all())
        for name in names
    ]
    return pl.concat(tables, how="diagonal_relaxed")


def read_slices(folder: Path, systems: list[str]) -> pl.DataFrame:
    """Read the slices of all systems, with ranges such as `11-50` in ascending order.

    Returns:
        slice, value, system, users, recall@10, low, high (the 95% interval of recall@10), ndcg@10.
    """
    table = concat_tables(folder, systems, "system").with_columns(pl.col("value").cast(pl.String))
    low = pl.col("value").str.extract(r"^(\d+)").cast(pl.Int64)
    ends = {"recall@10_low": "low", "recall@10_high": "high"}
    columns = ["slice", "value", "system", "users", "recall@10", "low", "high", "ndcg@10"]
    return table.rename(ends).select(columns).sort("slice", low, "value", maintain_order=True)


def main(
    *,
    metrics: Path,
    ranks: Path,
    candidates: Path,
    recommendations: Path,
    popularity: Path,
    tables: Path,
) -> str:
    """Write one CSV file per plot to the folder `tables`."""
    systems = system_names()
    board = read_json(metrics / "leaderboard.json")
    if list(board) != systems:
        path = metrics / "leaderboard.json"
        raise StageError(f"{path}: has other systems than params.yaml; run `dvc repro`")
    rank_tables = {name: read_table(ranks / f"{name}.parquet", RANKS) for name in systems}
    is_top = pl.col("rank") <= LIST_LENGTH  # the rest may be millions of rows
    top_lists = {
        name: read_table(path, RECOMMENDATIONS).filter(is_top)
        for name, path in system_list_paths(systems, candidates, recommendations).items()
    }
    users = rank_tables[systems[0]]["user_id"].unique()
    columns = ["ndcg@10", "recall@10", COVERAGE]
    rows = [{"system": name} | {key: row[key] for key in columns} for name, row in board.items()]
    resamples = load_params(LeaderboardParams, "leaderboard").resamples
    plots = {
        "main_metrics": main_metrics(rank_tables, resamples, read_seed()),
        "at_k": metrics_at_k(rank_tables, CUTOFFS),
        "slices": read_slices(metrics / "slices", systems),
        "accuracy_coverage": pl.DataFrame(rows),
        "beyond_accuracy": read_csv(metrics / "beyond_accuracy.csv"),
        "long_tail": long_tail(top_lists, users, read_table(popularity, POPULARITY)),
        "curves": concat_tables(metrics / "curves", block_names("retrievers"), "retriever"),
        "importance": concat_tables(
            metrics / "importance", block_names("rankers"), "ranker", NUM_FEATURES
        ),
    }
    for name, table in plots.items():
        write_csv(table, tables / f"{name}.csv")
    return f"{len(systems)} systems -> {len(plots)} tables"


if __name__ == "__main__":
    run_stage(main)
