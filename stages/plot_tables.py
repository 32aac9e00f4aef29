"""Stage: small tables behind the plots, so that drawing needs no model and no user's list."""

from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl

from stages.bootstrap import paired_intervals
from stages.common.files import read_json, write_csv
from stages.common.params import Range, read_seed, read_value
from stages.common.stage import StageError, run_stage
from stages.common.tables import POPULARITY, RANKS, RECOMMENDATIONS, read_table
from stages.metrics import COMPARED, user_metrics

# Even steps on a logarithmic axis.
CUTOFFS = [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200]
LIST_LENGTH = 10  # of the lists whose long tail is measured, as in coverage@10
TENTHS = 10
LIKINGS = "(likings)"  # stands beside the systems in the long tail


def at_k(ranks: dict[str, pl.DataFrame], cutoffs: list[int]) -> pl.DataFrame:
    """system, k, recall and ndcg: the means over the users of each system's RANKS."""
    tables = []
    for system, table in ranks.items():
        means = user_metrics(table, cutoffs).mean()
        figures = {
            name: means.select(f"{name}@{k}" for k in cutoffs).row(0) for name in ("recall", "ndcg")
        }
        tables.append(pl.DataFrame({"k": cutoffs, **figures}).select(pl.lit(system), pl.all()))
    return pl.concat(tables).rename({"literal": "system"})


def scores(ranks: dict[str, pl.DataFrame], resamples: int, seed: int) -> pl.DataFrame:
    """Each system's own figures with their 95% intervals.

    Users are drawn alike for all systems, so the intervals move together; whether two systems
    differ is answered by metrics/intervals.csv.

    Returns:
        system, metric, value, low, high.
    """
    cutoffs = sorted({int(metric.partition("@")[2]) for metric in COMPARED})
    names = [(system, metric) for system in ranks for metric in COMPARED]
    tables = {s: user_metrics(table, cutoffs).sort("user_id") for s, table in ranks.items()}
    values = np.column_stack([tables[system][metric].to_numpy() for system, metric in names])
    low, high = paired_intervals(values, resamples, np.random.default_rng(seed))
    named = pl.DataFrame(names, schema=["system", "metric"], orient="row")
    return named.with_columns(value=values.mean(axis=0), low=low, high=high)


def tenths(popularity: pl.DataFrame) -> pl.DataFrame:
    """movie_id, likings and `tenth` of every liked movie: 1 = the most liked tenth of them."""
    liked = popularity.filter(pl.col("likings") > 0).sort("popularity_rank")
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    return liked.select("movie_id", "likings", tenth=place * TENTHS // pl.len() + 1)


def long_tail(
    recommendations: dict[str, pl.DataFrame], users: pl.Series, popularity: pl.DataFrame
) -> pl.DataFrame:
    """Which share of the first places goes to movies of each tenth of popularity.

    Args:
        recommendations: RECOMMENDATIONS by system, or their first `LIST_LENGTH` ranks.
        users: Whose lists count.
        popularity: POPULARITY before the test targets.

    Returns:
        system, tenth, share; every tenth of every system, the shares of a system add up to 1.
        The system `LIKINGS` holds the share of all likings, to compare with.
    """
    movies = tenths(popularity)
    places = {LIKINGS: movies.select("tenth", weight=pl.col("likings").cast(pl.Int64))}
    for system, table in recommendations.items():
        top = table.filter(pl.col("rank") <= LIST_LENGTH, pl.col("user_id").is_in(users.implode()))
        found = top.join(movies, on="movie_id", maintain_order="left")
        places[system] = found.select("tenth", weight=pl.lit(1, pl.Int64))
    every = pl.DataFrame({"tenth": range(1, TENTHS + 1)}, schema={"tenth": pl.Int64})
    shares = [
        every.join(
            table.group_by("tenth").agg(pl.col("weight").sum()),
            on="tenth",
            how="left",
            maintain_order="left",
        ).select(
            pl.lit(system).alias("system"),
            "tenth",
            share=pl.col("weight").fill_null(0) / pl.col("weight").sum(),
        )
        for system, table in places.items()
    ]
    return pl.concat(shares)


def read_slices(folder: Path, systems: list[str]) -> pl.DataFrame:
    """The slices of all systems under each other, ranges such as `11-50` in their order.

    Returns:
        slice, value, system, users, recall@10, ndcg@10.
    """
    columns = {"slice": pl.String, "value": pl.String, "users": pl.Int64}
    tables = []
    for system in systems:
        table = pl.read_csv(folder / f"{system}.csv", schema_overrides=columns)
        named = table.with_columns(system=pl.lit(system))
        tables.append(named.select("slice", "value", "system", "users", "recall@10", "ndcg@10"))
    low = pl.col("value").str.extract(r"^(\d+)").cast(pl.Int64)
    return pl.concat(tables).sort("slice", low, "value", maintain_order=True)


def main(metrics: Path, ranks: Path, recommendations: Path, popularity: Path, tables: Path) -> str:
    """Write one CSV per plot to the folder `tables`."""
    systems = read_value("leaderboard.systems", list[str])
    resamples = read_value("leaderboard.resamples", Annotated[int, Range(10, 1_000_000)])
    board = read_json(metrics / "leaderboard.json")
    if list(board) != systems:
        raise StageError("metrics/leaderboard.json: has other systems; run `dvc repro`")
    targets = {name: read_table(ranks / f"{name}.parquet", RANKS) for name in systems}
    lists = {
        name: read_table(recommendations / name / "test.parquet", RECOMMENDATIONS).filter(
            pl.col("rank") <= LIST_LENGTH  # the rest may be millions of rows
        )
        for name in systems
    }
    users = targets[systems[0]]["user_id"].unique()
    tail = long_tail(lists, users, read_table(popularity, POPULARITY))
    balance = ["ndcg@10", "recall@10", "coverage@10"]
    rows = [{"system": name} | {key: row[key] for key in balance} for name, row in board.items()]
    made = {
        "at_k": at_k(targets, CUTOFFS),
        "scores": scores(targets, resamples, read_seed()),
        "slices": read_slices(metrics / "slices", systems),
        "balance": pl.DataFrame(rows),
        "long_tail": tail,
    }
    for name, table in made.items():
        write_csv(table, tables / f"{name}.csv")
    return f"{len(systems)} systems -> {len(made)} tables"


if __name__ == "__main__":
    run_stage(main)
