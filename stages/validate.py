"""Stage: measure every system on the validation targets, to choose among models and params by.

No generator and no retriever that is measured here knows these targets. The rankers learn from
them, so the lists of a ranker are out-of-fold here: a user's list comes from the booster of the
cross-validation that has not seen the user. It is one booster, trained on fewer users than the
boosters of the test.
"""

from pathlib import Path

import polars as pl

from stages.common.files import write_csv, write_json
from stages.common.params import load_params, read_seed
from stages.common.stage import run_stage
from stages.common.systems import LeaderboardParams, system_list_paths, system_names
from stages.common.tables import RECOMMENDATIONS, TARGETS, read_table, write_table
from stages.data.snapshots import VAL_SNAPSHOT, read_histories
from stages.evaluation.accuracy import MAIN_CUTOFFS, MAIN_METRICS, user_accuracy
from stages.evaluation.bootstrap import mean_intervals
from stages.evaluation.metrics import mean_by_user, target_ranks


def user_values(recommendations: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """Return user_id and `MAIN_METRICS` of the users who have a list.

    Args:
        recommendations: RECOMMENDATIONS of one system.
        targets: TARGETS.
    """
    rows = targets.join(recommendations, on="user_id", how="semi", maintain_order="left")
    ranks = rows.select("user_id", "source_user_id", rank=target_ranks(recommendations, rows))
    values = mean_by_user(user_accuracy(ranks, MAIN_CUTOFFS), ranks)
    return values.select("user_id", *MAIN_METRICS).sort("user_id")


def main(
    *,
    candidates: Path,
    recommendations: Path,
    targets: Path,
    histories: Path,
    metrics: Path,
    interval_table: Path,
    values: Path,
) -> str:
    """Write the means of every system, their intervals, and the values of every user."""
    resamples, seed = load_params(LeaderboardParams, "leaderboard").resamples, read_seed()
    queries = read_histories(histories, VAL_SNAPSHOT)
    rows = read_table(targets, TARGETS).join(queries, on="user_id", how="semi")
    rows = rows.sort("user_id", maintain_order=True)
    paths = system_list_paths(system_names(), candidates, recommendations, VAL_SNAPSHOT)
    per_user = {
        system: user_values(read_table(path, RECOMMENDATIONS), rows)
        for system, path in paths.items()
    }
    means = {
        system: {"users": table.height, **table.select(MAIN_METRICS).mean().row(0, named=True)}
        for system, table in per_user.items()
    }
    # With one fold only, a ranker has lists of some users.
    users = rows.select(user_id="source_user_id").unique().sort("user_id")
    aligned = {
        system: users.join(table, on="user_id", how="left", maintain_order="left").with_columns(
            pl.col(MAIN_METRICS).fill_null(float("nan"))
        )
        for system, table in per_user.items()
    }
    write_json(means, metrics)
    write_csv(mean_intervals(aligned, MAIN_METRICS, resamples, seed), interval_table)
    tables = [t.with_columns(system=pl.lit(system)) for system, t in per_user.items()]
    table = pl.concat(tables).select("system", "user_id", *MAIN_METRICS)
    write_table(table, values, table.schema)
    return f"{len(per_user)} systems, {users.height:,} users"


if __name__ == "__main__":
    run_stage(main)
