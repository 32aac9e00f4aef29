"""Stage: compare all systems, with confidence intervals of their differences."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.files import read_json, write_csv, write_json
from stages.common.params import load_params, read_seed
from stages.common.stage import StageError, atomic_write, run_stage
from stages.common.systems import LeaderboardParams, block_names, system_names
from stages.common.tables import RANKS, read_table
from stages.evaluation.accuracy import MAIN_CUTOFFS, MAIN_METRICS
from stages.evaluation.bootstrap import paired_intervals
from stages.evaluation.metrics import leaderboard_columns, rank_systems, user_metrics

BASELINE = "popularity"


def intervals(
    per_user: dict[str, pl.DataFrame], baselines: list[str], resamples: int, seed: int
) -> pl.DataFrame:
    """Compare every system with each baseline.

    Args:
        per_user: `user_metrics` of every system, for the same users, with `MAIN_METRICS`.
        baselines: The systems to compare with.
        resamples: The number of bootstrap samples.
        seed: The seed of the samples, which all comparisons share.

    Returns:
        system, against (the baseline), metric, difference (of the means), low, high (its 95%
        interval), significant (whether 0 is outside the interval).
    """
    comparisons = [
        (system, against, metric)
        for system in per_user
        for against in baselines
        for metric in MAIN_METRICS
        if system != against
    ]
    tables = {system: table.sort("user_id") for system, table in per_user.items()}
    columns = [tables[s][metric] - tables[b][metric] for s, b, metric in comparisons]
    differences = np.column_stack([column.to_numpy() for column in columns])
    low, high = paired_intervals(differences, resamples, np.random.default_rng(seed))
    labels = pl.DataFrame(comparisons, schema=["system", "against", "metric"], orient="row")
    return labels.with_columns(
        difference=differences.mean(axis=0),
        low=low,
        high=high,
        significant=(low > 0) | (high < 0),
    )


def as_markdown(board: dict[str, dict[str, float]]) -> str:
    """Format the leaderboard as a Markdown table, padded to be readable as text."""
    columns = leaderboard_columns()
    lines = [f"| {'system':14} | " + " | ".join(f"{name:>10}" for name in columns) + " |"]
    lines.append("| " + "-" * 14 + " | " + " | ".join("-" * 9 + ":" for _ in columns) + " |")
    for system, row in board.items():
        cells = " | ".join(f"{row[name]:10.4f}" for name in columns)
        lines.append(f"| {system:14} | {cells} |")
    return "\n".join(lines) + "\n"


def best_retriever(board: dict[str, dict[str, float]]) -> str:
    """Return the retriever with the highest ndcg@10."""
    retrievers = [name for name in block_names("retrievers") if name in board]
    if not retrievers:
        raise StageError("leaderboard.exclude: leaves no retriever; exclude fewer")
    return rank_systems(board, retrievers)[0]


def main(*, metrics: Path, ranks: Path, board: Path, text: Path, interval_table: Path) -> str:
    """Write the leaderboard as JSON and as Markdown, and the table of differences."""
    params, seed = load_params(LeaderboardParams, "leaderboard"), read_seed()
    systems = system_names()
    if BASELINE not in systems:
        raise StageError(
            f"generators.{BASELINE}: is missing or excluded, and all systems are compared with it; "
            "add it"
        )
    rows, per_user = {}, {}
    for system in systems:
        means = read_json(metrics / f"{system}.json")
        rows[system] = {name: means[name] for name in ("users", *leaderboard_columns())}
        table = read_table(ranks / f"{system}.parquet", RANKS)
        per_user[system] = user_metrics(table, MAIN_CUTOFFS)
    best = best_retriever(rows)
    write_json(rows, board)
    write_csv(intervals(per_user, [BASELINE, best], params.resamples, seed), interval_table)
    with atomic_write(text) as temporary:
        temporary.write_text(as_markdown(rows), encoding="utf-8")
    return f"{len(rows)} systems, the best retriever is {best}"


if __name__ == "__main__":
    run_stage(main)
