"""Fit peers and measure them; keep their lists, settings, metrics and ranks in a folder."""

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.peers import sequence, two_stage
from benchmarks.peers.data import METRIC, PEER_SNAPSHOTS, VALIDATION, Snapshot, Targets
from benchmarks.peers.models import SCORE_PEERS
from benchmarks.peers.report import (
    RANKS_FILE,
    RESULTS_FILE,
    TARGET,
    USER,
    Peers,
    run_name,
    targets_checksum,
)
from benchmarks.peers.sequence import SEQUENCE_PEERS
from stages.common.files import read_json, write_csv, write_json
from stages.common.stage import StageError
from stages.common.tables import RECOMMENDATIONS, read_table, write_table
from stages.data.snapshots import TEST_SNAPSHOT
from stages.ranker_data import add_labels

LISTS = [*SCORE_PEERS, *SEQUENCE_PEERS]
COMBINATIONS = {
    "rrf": ("RRF of all peers", f"k {two_stage.RRF_K}"),
    "rrf_chosen": ("RRF of chosen peers", f"k {two_stage.RRF_K}, peers on val"),
    "two_stage": ("peer two-stage (LightGBM)", "cross-validation"),
}
GRID, PUBLISHED = "grid on val", "published; dropout and epochs on val"


class Benchmark:
    """The peers' lists and results of one data set, in one folder.

    `results` has, for each peer, its title, settings, their source, and a run for each seed. The
    trials on the validation targets are in the folder `trials`.
    """

    def __init__(self, data: Path, out: Path, options: argparse.Namespace) -> None:
        self.snapshots = {name: Snapshot(data, name) for name in PEER_SNAPSHOTS}
        self.targets, self.out, self.options = Targets(data), out, options
        self.path, self.checksum = out / RESULTS_FILE, targets_checksum(self.targets.test)
        self.results = self.earlier_results()
        for name in options.models.split(",") if options.refit else ():
            self.results.pop(name, None)

    def earlier_results(self) -> Peers:
        """Return the results that the folder has.

        Raises:
            StageError: They are of other test targets.
        """
        if not self.path.exists():
            return {}
        results = read_json(self.path)
        if results.get("targets") != self.checksum:
            what = "has results of other test targets"
            raise StageError(f"{self.path}: {what}; name another folder with --out")
        return results["peers"]

    def ordered_results(self) -> Peers:
        """Return the results in the order of LISTS and COMBINATIONS."""
        return {n: self.results[n] for n in [*LISTS, *COMBINATIONS] if n in self.results}

    def write_results(self) -> None:
        """Write the results, with the checksum of their targets."""
        write_json({"targets": self.checksum, "peers": self.ordered_results()}, self.path)

    def lists_path(self, snapshot: str, name: str, seed: int | str) -> Path:
        """Return the file of a peer's RECOMMENDATIONS."""
        return self.out / snapshot / f"{run_name(name, seed)}.parquet"

    def read_lists(self, snapshot: str, seed: int) -> dict[str, pl.DataFrame]:
        """Return RECOMMENDATIONS by peer, of all peers that have lists of this seed."""
        paths = {name: self.lists_path(snapshot, name, seed) for name in LISTS}
        return {n: read_table(p, RECOMMENDATIONS) for n, p in paths.items() if p.exists()}

    def has_run(self, name: str, seed: int) -> bool:
        """Return whether the peer has results of this seed."""
        return str(seed) in self.results.get(name, {}).get("runs", {})

    def save(
        self, name: str, seed: int, lists: dict[str, pl.DataFrame], validation: float, **run: object
    ) -> None:
        """Write the lists by snapshot, measure them, and add the run to the results."""
        for snapshot, table in lists.items():
            write_table(table, self.lists_path(snapshot, name, seed), RECOMMENDATIONS)
        metrics = self.targets.test_metrics(lists[TEST_SNAPSHOT])
        run = {"validation": validation, "metrics": metrics} | run
        self.results[name]["runs"][str(seed)] = run
        self.write_results()
        print(f"{name} {seed}: val {validation:.4f}, test {metrics[METRIC]:.4f}", flush=True)

    def start(self, name: str, title: str, source: str, settings: dict, trials: list) -> None:
        """Add a peer without runs to the results, and write its trials to a file of their own."""
        if trials:
            write_json(trials, self.out / "trials" / f"{name}.json")
        entry = {"title": title, "source": source, "settings": settings}
        self.results[name] = entry | {"runs": {}}

    def earlier_settings(self, name: str) -> dict | None:
        """Return the settings that an earlier seed has chosen, if there are any."""
        return self.results.get(name, {}).get("settings")

    def run_score_peer(self, name: str, seed: int) -> None:
        """Choose the settings of a peer that scores all movies, and fit it on both snapshots."""
        peer = SCORE_PEERS[name]

        def lists(snapshot: str, settings: dict) -> pl.DataFrame:
            table = self.snapshots[snapshot]
            return table.best_unseen(peer.scores(table, settings, seed))

        settings = self.earlier_settings(name)
        has_low_ratings = self.snapshots[VALIDATION].low_ratings.height > 0
        if settings is None:
            trials = [
                {"settings": s, METRIC: self.targets.validation_metric(lists(VALIDATION, s))}
                for s in peer.grid
                if has_low_ratings or not s.get("low_weight")
            ]
            settings = max(trials, key=lambda trial: trial[METRIC])["settings"]
            self.start(name, peer.title, GRID, settings, trials)
        validation = lists(VALIDATION, settings)
        start = time.monotonic()
        tables = {VALIDATION: validation, TEST_SNAPSHOT: lists(TEST_SNAPSHOT, settings)}
        seconds = time.monotonic() - start
        metric = self.targets.validation_metric(validation)
        self.save(name, seed, tables, metric, seconds=seconds)

    def run_sequence_peer(self, name: str, seed: int) -> None:
        """Choose the settings and the epochs of a transformer, and fit it on both snapshots."""
        peer, settings = SEQUENCE_PEERS[name], self.earlier_settings(name)
        bests, trials = [], []
        candidates = peer.trials[:1] if self.options.published else peer.trials
        for trial in candidates if settings is None else [settings]:
            training = sequence.Training(peer, trial, self.snapshots[VALIDATION], seed)
            start = time.monotonic()
            best = sequence.train_until_best(
                training, self.targets.validation_metric, 60 * self.options.max_minutes
            )
            bests.append(best)
            facts = {"epoch": best.epoch, "epochs": best.epochs, "cut": best.is_cut}
            facts["seconds"] = time.monotonic() - start
            trials.append({"settings": trial, METRIC: best.metric} | facts)
            print(name, seed, trials[-1], flush=True)
        index = int(np.argmax([best.metric for best in bests]))
        best = bests[index]
        if settings is None:
            settings = trials[index]["settings"]
            source = "published; epochs on val" if self.options.published else PUBLISHED
            self.start(name, peer.title, source, settings, trials)
        start = time.monotonic()
        training = sequence.Training(peer, settings, self.snapshots[TEST_SNAPSHOT], seed)
        tables = {
            VALIDATION: best.lists,
            TEST_SNAPSHOT: sequence.train_epochs(training, best.epoch),
        }
        seconds = time.monotonic() - start
        epochs = f"{best.epoch} (stopped at {best.epochs}{' by time' if best.is_cut else ''})"
        self.save(name, seed, tables, best.metric, seconds=seconds, epochs=epochs)

    def run_combination(self, name: str, seed: int) -> None:
        """Combine the lists that the other peers have of this seed."""
        start = time.monotonic()
        lists = {snapshot: self.read_lists(snapshot, seed) for snapshot in PEER_SNAPSHOTS}
        names, metric = list(lists[TEST_SNAPSHOT]), self.targets.validation_metric
        if name != "rrf":
            names = two_stage.choose_lists(lists[VALIDATION], metric)
        tables = {
            snapshot: two_stage.fused_lists({n: tables[n] for n in names})
            for snapshot, tables in lists.items()
        }
        validation, settings = metric(tables[VALIDATION]), {"RRF of": "+".join(names)}
        if name == "two_stage":
            features = {
                name: two_stage.feature_table(
                    lists[name], tables[name], snapshot.popularity, snapshot.history_lengths()
                )
                for name, snapshot in self.snapshots.items()
            }
            examples = add_labels(features[VALIDATION], self.targets.val, True)
            ranker = two_stage.train_ranker(examples, seed)
            table = two_stage.ranked_lists(features[TEST_SNAPSHOT], ranker.booster)
            tables = {TEST_SNAPSHOT: table}
            share = examples["user_id"].n_unique() / self.targets.val["user_id"].n_unique()
            validation = ranker.metric * share
            settings |= {"num_leaves": ranker.num_leaves, "trees": ranker.trees}
        title, source = COMBINATIONS[name]
        if name not in self.results:
            self.start(name, title, source, settings, [])
        self.results[name]["settings"] = settings
        self.save(name, seed, tables, validation, seconds=time.monotonic() - start)

    def run(self, name: str, seed: int) -> None:
        """Run a peer, unless it has results of this seed; combinations are cheap and run again."""
        if name in COMBINATIONS:
            self.run_combination(name, seed)
        elif not self.has_run(name, seed):
            method = self.run_score_peer if name in SCORE_PEERS else self.run_sequence_peer
            method(name, seed)

    def write_ranks(self) -> None:
        """Write the ranks of the test targets in all lists; `report.Results` says how."""
        users = self.targets.test.sort(TARGET)["user_id"].rank("dense") - 1
        columns = {USER: users}
        for name, result in self.ordered_results().items():
            for seed in result["runs"]:
                lists = read_table(self.lists_path(TEST_SNAPSHOT, name, seed), RECOMMENDATIONS)
                columns[run_name(name, seed)] = self.targets.test_ranks(lists).sort(TARGET)["rank"]
        write_csv(pl.DataFrame(columns), self.out / RANKS_FILE)
