"""Compare all systems under leave-one-out and under a global time split, with intervals.

    python -m benchmarks.protocols --work /tmp/protocols
    python -m benchmarks.protocols --work /tmp/protocols --source ml-100k --source /path/to/data

Each protocol of each data set runs in a clone of its own below `--work`, by params alone. A table
has the means over users of ndcg@10 and recall@10 with 95% bootstrap intervals. Under the global
split it also measures the users apart whom no model knows, because they come after the cut. Its
last columns compare a system with the best generator, and with the fusion of all generators.
"""

import argparse
import contextlib
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.seeds import difference_cell, read_ranks, run
from benchmarks.tables import header
from stages.common.files import read_json
from stages.common.params import read_seed, read_value
from stages.common.systems import FUSION, generator_names, system_names
from stages.evaluation.accuracy import MAIN_CUTOFFS
from stages.evaluation.bootstrap import paired_intervals
from stages.evaluation.metrics import user_metrics
from stages.leaderboard import intervals

PROTOCOLS = {
    "leave one out": ["time_split.method=leave_one_out"],
    "global, first target": ["time_split.method=global", "time_split.targets=first"],
    "global, last target": ["time_split.method=global", "time_split.targets=last"],
    "global, all targets": [
        "time_split.method=global",
        "time_split.targets=all",
        "histories.max_validation_users=2000",  # queries that rankers learn from
    ],
}
METRICS = ["ndcg@10", "recall@10"]


def mean_cell(values: pl.Series, resamples: int, seed: int) -> str:
    """Format the mean over users, and its 95% interval."""
    columns = values.to_numpy()[:, None]
    low, high = paired_intervals(columns, resamples, np.random.default_rng(seed))
    return f"{values.mean():.4f} ({low[0]:.4f} to {high[0]:.4f})"


def part_means(ranks: dict[str, pl.DataFrame], system: str) -> list[str]:
    """Return ndcg@10 over the known and over the new users; empty where there are none."""
    cells = []
    for is_new in (False, True):
        rows = ranks[system].filter(pl.col("new_user") == is_new)
        means = user_metrics(rows, MAIN_CUTOFFS)["ndcg@10"] if rows.height else None
        cells.append("" if means is None else f"{means.mean():.4f}")
    return cells


def protocol_rows(folder: Path) -> list[str]:
    """Return the table of a finished run."""
    with contextlib.chdir(folder):
        systems, generators, seed = system_names(), generator_names(), read_seed()
        resamples = read_value("leaderboard.resamples", int)
    ranks = {system: read_ranks(folder, system) for system in systems}
    tables = {system: user_metrics(table, MAIN_CUTOFFS) for system, table in ranks.items()}
    best = max(generators, key=lambda name: tables[name]["ndcg@10"].mean())
    differences = {
        (row["system"], row["against"]): difference_cell(row)
        for row in intervals(tables, [best, FUSION], resamples, seed).to_dicts()
        if row["metric"] == "ndcg@10"
    }
    columns = [*METRICS, "ndcg@10, known users", "ndcg@10, new users", f"minus {best}"]
    lines = [header("system", [*columns, f"minus {FUSION}"])]
    for system in systems:
        cells = [mean_cell(tables[system][metric], resamples, seed) for metric in METRICS]
        cells += part_means(ranks, system)
        cells += [differences.get((system, against), "") for against in (best, FUSION)]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return lines


def describe(folder: Path) -> str:
    """Return one line about the split of a finished run."""
    split = read_json(folder / "metrics" / "split.json")
    users = f"{split['test_users']:,} test users ({split['new_users']:,} new)"
    targets = f"{split['test_targets']:,} targets, {split['cold_targets']:,} of a new movie"
    return f"{users}, {targets}; {split['left_out_inactive']:,} users inactive after the cut."


def main() -> None:
    """Run every protocol on every data set, and print a table for each."""
    parser = argparse.ArgumentParser(description="Leave-one-out and the global time split.")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the clones")
    parser.add_argument("--source", action="append", help="a data.source; may be repeated")
    parser.add_argument("--set", action="append", default=[], help="a param, as in dvc exp run -S")
    options = parser.parse_args()
    for source in options.source or ["ml-100k"]:
        for name, settings in PROTOCOLS.items():
            folder = options.work / f"{Path(source).name} {name}".replace(",", "").replace(" ", "-")
            run(folder, [f"data.source={source}", *settings, *options.set])
            print(f"**{Path(source).name}, {name}**: {describe(folder)}\n", flush=True)
            print("\n".join(protocol_rows(folder)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
