"""Tables of the results: every peer's metrics, and how far the pipeline's systems are from it."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.peers.data import METRIC
from benchmarks.tables import header
from stages.common.files import read_json
from stages.common.params import load_params, read_seed
from stages.common.stage import StageError
from stages.common.systems import LeaderboardParams, block_names
from stages.common.tables import RANKS, read_table
from stages.evaluation.accuracy import MRR, user_accuracy
from stages.evaluation.bootstrap import paired_intervals
from stages.evaluation.metrics import COVERAGE

COLUMNS = [*(f"recall@{k}" for k in (1, 10, 20, 50, 200)), METRIC, MRR, COVERAGE]
RANKERS = ("ranker_history", "ranker_hit")
SECONDS, VALIDATION_METRIC = "fit s", f"val {METRIC}"

RESULTS_FILE, RANKS_FILE = "results.json", "ranks.parquet"
# The rank that a peer, fitted with a seed, gave to a test target; 0 is a miss.
PEER_RANKS = pl.Schema(
    {
        "peer": pl.String,
        "seed": pl.Int32,
        "user_id": pl.Int32,
        "movie_id": pl.Int32,
        "rank": pl.UInt16,
    }
)

Results = dict[str, dict[str, Any]]


def read_results(folder: Path) -> tuple[Results, pl.DataFrame]:
    """Return the results of the peers by name, and their PEER_RANKS.

    Raises:
        StageError: The folder lacks one of the files, or they are damaged.
    """
    for name in (RESULTS_FILE, RANKS_FILE):
        if not (folder / name).exists():
            raise StageError(f"{folder}: has no {name}; name the folder of `make peers`")
    return read_json(folder / RESULTS_FILE), read_table(folder / RANKS_FILE, PEER_RANKS)


def check_targets(peer_ranks: pl.DataFrame, peers: Path, folders: list[Path]) -> None:
    """Check that the peers and the runs have the same test targets.

    Args:
        peer_ranks: PEER_RANKS.
        peers: Their folder, for the message.
        folders: The RANKS of one run each.

    Raises:
        StageError: A run has other targets, or has not been evaluated.
    """
    pair = ["user_id", "movie_id"]
    targets = peer_ranks.select(pair).unique().sort(pair)
    for folder in folders:
        path = folder / f"{RANKERS[0]}.parquet"
        if not read_table(path, RANKS).select(pair).unique().sort(pair).equals(targets):
            what = "has other test targets than the peers of"
            raise StageError(f"{path}: {what} {peers}; fit peers for this data set: `make peers`")


def mean_of_runs(result: dict[str, Any], column: str) -> float:
    """Return the mean over the seeds of a metric of a peer."""
    return float(np.mean([run["metrics"][column] for run in result["runs"].values()]))


def settings_text(result: dict[str, Any]) -> str:
    """Return the settings of a peer, then the number of epochs of each seed if it has epochs."""
    parts = [f"{name} {value}" for name, value in result["settings"].items()]
    epochs = [run["epochs"] for run in result["runs"].values() if "epochs" in run]
    return ", ".join([*parts, *(["epochs " + ", ".join(epochs)] if epochs else [])])


def metrics_table(results: Results) -> list[str]:
    """Return the Markdown rows of all peers: means over the seeds on the test targets."""
    columns = [*COLUMNS, VALIDATION_METRIC, SECONDS]
    lines = [header("peer", ["settings", "source", "seeds", *columns])]
    for result in results.values():
        runs = result["runs"].values()
        means = [f"{mean_of_runs(result, column):.4f}" for column in COLUMNS]
        validation = f"{np.mean([run['validation'] for run in runs]):.4f}"
        seconds = f"{np.mean([run['seconds'] for run in runs]):.0f}"
        texts = [result["title"], settings_text(result), result["source"], str(len(runs))]
        lines.append("| " + " | ".join([*texts, *means, validation, seconds]) + " |")
    return lines


def user_values(ranks: pl.DataFrame) -> np.ndarray:
    """Return ndcg@10 of every user of RANKS, ordered by user id."""
    return user_accuracy(ranks, [10]).sort("user_id")[METRIC].to_numpy()


def peer_values(peer_ranks: pl.DataFrame, name: str) -> np.ndarray:
    """Return ndcg@10 of every user, the mean over the seeds of a peer of PEER_RANKS."""
    runs = peer_ranks.filter(pl.col("peer") == name).group_by("seed", maintain_order=True)
    return np.mean([user_values(ranks) for _, ranks in runs], axis=0)


def compared_systems(folders: list[Path]) -> dict[str, np.ndarray]:
    """Return ndcg@10 by user of the rankers and of the best retriever that have files of RANKS.

    Args:
        folders: The RANKS of one run each; a user's values are averaged over the runs.
    """
    values = {}
    for name in [*RANKERS, *block_names("retrievers")]:
        paths = [folder / f"{name}.parquet" for folder in folders]
        if all(path.exists() for path in paths):
            values[name] = np.mean([user_values(read_table(p, RANKS)) for p in paths], axis=0)
    retrievers = sorted(values.keys() - set(RANKERS), key=lambda name: -values[name].mean())
    return {name: values[name] for name in [*RANKERS, *retrievers[:1]] if name in values}


def differences_table(
    peers: dict[str, np.ndarray], systems: dict[str, np.ndarray], resamples: int, seed: int
) -> list[str]:
    """Return Markdown rows of the differences of systems minus peers, with 95% intervals.

    Args:
        peers: [users] ndcg@10 by title, the mean over the seeds.
        systems: [users] ndcg@10 by system, in the same order of users.
        resamples: The number of bootstrap samples.
        seed: The seed of the samples.
    """
    lines = [header(f"{METRIC} minus that of the peer", list(systems))]
    for title, peer in peers.items():
        differences = np.column_stack([values - peer for values in systems.values()])
        low, high = paired_intervals(differences, resamples, np.random.default_rng(seed))
        cells = [
            f"{mean:+.4f} [{start:+.4f}, {end:+.4f}]"
            for mean, start, end in zip(differences.mean(axis=0), low, high)
        ]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def report(results: Results, peer_ranks: pl.DataFrame, folders: list[Path]) -> str:
    """Return both tables; the second one only if a run has RANKS of systems.

    Args:
        results: The results by the peers' names.
        peer_ranks: PEER_RANKS.
        folders: The RANKS of one run each.
    """
    lines = metrics_table(results)
    systems = compared_systems(folders)
    if systems:
        peers = {r["title"]: peer_values(peer_ranks, name) for name, r in results.items()}
        resamples = load_params(LeaderboardParams, "leaderboard").resamples
        lines += ["", *differences_table(peers, systems, resamples, read_seed())]
    return "\n".join(lines) + "\n"
