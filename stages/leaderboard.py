"""Stage: all systems side by side, and which differences are larger than chance."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl

from stages.bootstrap import paired_intervals
from stages.common.files import read_json, write_csv, write_json
from stages.common.params import Range, load_params, read_seed
from stages.common.stage import StageError, run_stage, whole_file
from stages.common.tables import RANKS, read_table
from stages.metrics import COMPARED, user_metrics

COLUMNS = ["users"]
COLUMNS += [f"recall@{k}" for k in (1, 10, 20, 50, 200)]
COLUMNS += [f"ndcg@{k}" for k in (10, 20, 200)]
COLUMNS += ["mrr", "coverage@10"]
SHOWN = [
    "recall@1",
    "recall@10",
    "recall@20",
    "recall@50",
    "recall@200",
    "ndcg@10",
    "ndcg@20",
    "mrr",
    "coverage@10",
]


@dataclasses.dataclass(frozen=True)
class Params:
    """`systems`: the rows; `retrievers`: those of which the best by ndcg@10 is a yardstick;
    `resamples`: how often users are drawn anew for an interval.
    """

    systems: list[str]
    retrievers: list[str]
    resamples: Annotated[int, Range(10, 1_000_000)]


def intervals(
    per_user: dict[str, pl.DataFrame], yardsticks: list[str], resamples: int, seed: int
) -> pl.DataFrame:
    """Each system against each yardstick, by metric.

    Args:
        per_user: `user_metrics` of every system, one row per user.
        yardsticks: Systems to compare with.
        resamples: Bootstrap samples, which all comparisons share.
        seed: Of the samples.

    Returns:
        system, against, metric, difference, low, high, and `real`: 0 is outside the interval.
    """
    names = [
        (system, against, metric)
        for system in per_user
        for against in yardsticks
        for metric in COMPARED
        if system != against
    ]
    tables = {system: table.sort("user_id") for system, table in per_user.items()}
    columns = [tables[s][metric] - tables[a][metric] for s, a, metric in names]
    differences = np.column_stack([column.to_numpy() for column in columns])
    low, high = paired_intervals(differences, resamples, np.random.default_rng(seed))
    named = pl.DataFrame(names, schema=["system", "against", "metric"], orient="row")
    return named.with_columns(
        difference=differences.mean(axis=0), low=low, high=high, real=(low > 0) | (high < 0)
    )


def as_markdown(board: dict[str, dict[str, float]]) -> str:
    """The leaderboard as a Markdown table, lined up for people too."""
    lines = [f"| {'system':14} | " + " | ".join(f"{name:>10}" for name in SHOWN) + " |"]
    lines.append("| " + "-" * 14 + " | " + " | ".join("-" * 9 + ":" for _ in SHOWN) + " |")
    for system, row in board.items():
        figures = " | ".join(f"{row[name]:10.4f}" for name in SHOWN)
        lines.append(f"| {system:14} | {figures} |")
    return "\n".join(lines) + "\n"


def main(metrics: Path, ranks: Path, board: Path, text: Path, interval_table: Path) -> str:
    """Read `metrics/<system>.json` and `ranks/<system>.parquet` of every system."""
    params = load_params(Params, "leaderboard")
    seed = read_seed()
    for name in ["popularity", *params.retrievers]:
        if name not in params.systems:
            raise StageError(f"leaderboard.systems: {name!r} is missing; add it")
    rows, per_user = {}, {}
    for system in params.systems:
        figures = read_json(metrics / f"{system}.json")
        missing = [name for name in COLUMNS if name not in figures]
        if missing:
            raise StageError(f"evaluate.cutoffs: gives no {missing[0]}; add its k")
        rows[system] = {name: figures[name] for name in COLUMNS}
        targets = read_table(ranks / f"{system}.parquet", RANKS)
        per_user[system] = user_metrics(targets, [10, 200])
    best = max(params.retrievers, key=lambda name: rows[name]["ndcg@10"])
    table = intervals(per_user, ["popularity", best], params.resamples, seed)
    write_json(rows, board)
    write_csv(table, interval_table)
    with whole_file(text) as temporary:
        temporary.write_text(as_markdown(rows), encoding="utf-8")
    return f"{len(rows)} systems, the best retriever is {best}"


if __name__ == "__main__":
    run_stage(main)
