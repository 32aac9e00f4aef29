"""Stage: compare all systems, with confidence intervals of their differences."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.files import read_json, write_csv, write_json
from stages.common.params import load_params, read_seed
from stages.common.stage import atomic_write, run_stage
from stages.common.systems import (
    BASELINE,
    FUSION,
    LeaderboardParams,
    generator_names,
    require_baseline,
    system_names,
)
from stages.common.tables import RANKS, read_table
from stages.evaluation.accuracy import MAIN_CUTOFFS, MAIN_METRICS
from stages.evaluation.board import as_markdown
from stages.evaluation.bootstrap import holm, paired_intervals, paired_p_values
from stages.evaluation.metrics import leaderboard_columns, rank_systems, user_metrics

ALPHA = 0.05  # of the adjusted p-values


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
        interval), p_value, p_holm (adjusted for all comparisons of the metric), significant
        (whether p_holm is below `ALPHA`).
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
    p_values = paired_p_values(differences)
    table = pl.DataFrame(comparisons, schema=["system", "against", "metric"], orient="row")
    table = table.with_columns(
        difference=differences.mean(axis=0),
        low=low,
        high=high,
        p_value=p_values,
    )
    adjusted = np.empty(len(p_values))
    for metric in MAIN_METRICS:
        rows = (table["metric"] == metric).to_numpy()
        adjusted[rows] = holm(p_values[rows])
    return table.with_columns(p_holm=adjusted, significant=adjusted < ALPHA)


def with_marks(
    board: dict[str, dict[str, float]], intervals: pl.DataFrame
) -> dict[str, dict[str, float | str]]:
    """Return `board` with a column `vs <baseline>` for each baseline.

    It has the sign of the system's difference in ndcg@10 where that is significant, else ~.
    """
    marks = {system: dict(row) for system, row in board.items()}
    for row in intervals.filter(pl.col("metric") == "ndcg@10").iter_rows(named=True):
        sign = "+" if row["difference"] > 0 else "-"
        marks[row["system"]][f"vs {row['against']}"] = sign if row["significant"] else "~"
    return marks


def main(*, metrics: Path, ranks: Path, board: Path, text: Path, interval_table: Path) -> str:
    """Write the leaderboard as JSON and as Markdown, and the table of differences."""
    params, seed = load_params(LeaderboardParams, "leaderboard"), read_seed()
    systems = system_names()
    require_baseline(systems)
    rows, per_user = {}, {}
    for system in systems:
        means = read_json(metrics / f"{system}.json")
        rows[system] = {name: means[name] for name in ("users", *leaderboard_columns())}
        table = read_table(ranks / f"{system}.parquet", RANKS)
        per_user[system] = user_metrics(table, MAIN_CUTOFFS)
    # The strongest by the very figures that are reported: that favours the baseline.
    best = rank_systems(rows, [name for name in generator_names() if name in rows])[0]
    names = dict.fromkeys((BASELINE, best, FUSION))  # popularity may be the best generator
    baselines = [name for name in names if name in systems]
    table = intervals(per_user, baselines, params.resamples, seed)
    write_json(rows, board)
    write_csv(table, interval_table)
    columns = [*leaderboard_columns(), *(f"vs {name}" for name in baselines)]
    with atomic_write(text) as temporary:
        temporary.write_text(as_markdown(with_marks(rows, table), columns), encoding="utf-8")
    return f"{len(rows)} systems, the best generator is {best}"


if __name__ == "__main__":
    run_stage(main)
