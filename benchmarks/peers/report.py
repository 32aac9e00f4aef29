"""Tables of the results: every peer's metrics, and how far the pipeline's systems are from it."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.peers.data import METRIC
from benchmarks.tables import header
from stages.common.files import read_csv, read_json
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

RESULTS_FILE, RANKS_FILE = "results.json", "ranks.csv"
USER = "user"
TARGET = ["user_id", "movie_id"]

Peers = dict[str, dict[str, Any]]


class Results(NamedTuple):
    """What is kept of the peers of a data set, without the ids of its users and movies.

    `peers` has the title, settings and runs of each peer. `ranks` has a row for each test target,
    sorted by user and movie: `user` numbers the users from 0 on, and `<peer>-<seed>` is the rank
    that the peer, fitted with the seed, gave to the target; 0 is a miss. `targets` is
    `targets_checksum`.
    """

    peers: Peers
    ranks: pl.DataFrame
    targets: str


def targets_checksum(targets: pl.DataFrame) -> str:
    """Return the SHA-256 of the user_id and movie_id of all test targets, in any order."""
    ids = targets.select(TARGET).cast(pl.Int64).sort(TARGET).to_numpy()
    return hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").tobytes()).hexdigest()


def run_name(name: str, seed: int | str) -> str:
    """Return the name of a peer's run: of a column of `Results.ranks`, and of its lists."""
    return f"{name}-{seed}"


def rank_columns(peers: Peers) -> list[str]:
    """Return the columns of `Results.ranks` that have ranks."""
    return [run_name(name, seed) for name, peer in peers.items() for seed in peer["runs"]]


def read_results(folder: Path) -> Results:
    """Read the files RESULTS_FILE and RANKS_FILE of a folder.

    Raises:
        StageError: The folder lacks one of the files, or they do not belong together.
    """
    for name in (RESULTS_FILE, RANKS_FILE):
        if not (folder / name).exists():
            raise StageError(f"{folder}: has no {name}; name the folder of `make peers`")
    results, ranks = read_json(folder / RESULTS_FILE), read_csv(folder / RANKS_FILE)
    peers = results.get("peers", {})
    if not peers or ranks.columns != [USER, *rank_columns(peers)]:
        what = f"has other peers or seeds than {RESULTS_FILE}"
        raise StageError(f"{folder / RANKS_FILE}: {what}; write both again: `make peers`")
    return Results(peers, ranks, results["targets"])


def mean_of_runs(result: dict[str, Any], column: str) -> float:
    """Return the mean over the seeds of a metric of a peer."""
    return float(np.mean([run["metrics"][column] for run in result["runs"].values()]))


def settings_text(result: dict[str, Any]) -> str:
    """Return the settings of a peer, then the number of epochs of each seed if it has epochs."""
    parts = [f"{name} {value}" for name, value in result["settings"].items()]
    epochs = [run["epochs"] for run in result["runs"].values() if "epochs" in run]
    return ", ".join([*parts, *(["epochs " + ", ".join(epochs)] if epochs else [])])


def metrics_table(peers: Peers) -> list[str]:
    """Return the Markdown rows of all peers: means over the seeds on the test targets."""
    columns = [*COLUMNS, VALIDATION_METRIC, SECONDS]
    lines = [header("peer", ["settings", "source", "seeds", *columns])]
    for result in peers.values():
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


def peer_values(results: Results, name: str) -> np.ndarray:
    """Return ndcg@10 of every user, the mean over the seeds of a peer."""
    columns = rank_columns({name: results.peers[name]})
    tables = [results.ranks.select(user_id=USER, rank=column) for column in columns]
    return np.mean([user_values(table) for table in tables], axis=0)


def read_systems(folders: list[Path], targets: str) -> dict[str, np.ndarray]:
    """Return ndcg@10 by user of the rankers and of the best retriever.

    Args:
        folders: The RANKS of one run each; a user's values are averaged over the runs.
        targets: `targets_checksum` of the peers.

    Raises:
        StageError: No ranker or retriever has RANKS in all folders, or a run has other targets.
    """
    values = {}
    for name in [*RANKERS, *block_names("retrievers")]:
        paths = [folder / f"{name}.parquet" for folder in folders]
        if not all(path.exists() for path in paths):
            continue
        tables = [read_table(path, RANKS) for path in paths]
        for path, table in zip(paths, tables):
            if targets_checksum(table) != targets:
                what = "has other test targets than the peers"
                raise StageError(f"{path}: {what}; fit peers for this data set: `make peers`")
        values[name] = np.mean([user_values(table) for table in tables], axis=0)
    if not values:
        text = ", ".join(map(str, folders))
        raise StageError(f"{text}: no ranks of a ranker or retriever; run `dvc repro`")
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


def report(results: Results, systems: dict[str, np.ndarray]) -> str:
    """Return the tables of the peers, and of the differences of systems to them.

    Args:
        results: The results of the peers.
        systems: `read_systems`.
    """
    peers = {peer["title"]: peer_values(results, name) for name, peer in results.peers.items()}
    resamples = load_params(LeaderboardParams, "leaderboard").resamples
    differences = differences_table(peers, systems, resamples, read_seed())
    return "\n".join([*metrics_table(results.peers), "", *differences]) + "\n"
