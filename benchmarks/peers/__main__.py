"""Fit peers, measure them and print the tables; see `benchmarks.peers`."""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.peers import replicate, sequence, two_stage
from benchmarks.peers.data import METRIC, PEER_SNAPSHOTS, VALIDATION, Snapshot, Targets
from benchmarks.peers.models import SCORE_PEERS
from benchmarks.peers.report import PEER_RANKS, RANKS_FILE, RESULTS_FILE, read_results, report
from benchmarks.peers.sequence import SEQUENCE_PEERS
from stages.common.files import write_json
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

    `results` has, for each peer, its title, settings, their source, the trials on the validation
    targets, and a run for each seed.
    """

    def __init__(self, data: Path, out: Path, options: argparse.Namespace) -> None:
        self.snapshots = {name: Snapshot(data, name) for name in PEER_SNAPSHOTS}
        self.targets, self.out, self.options = Targets(data), out, options
        self.path = out / RESULTS_FILE
        self.results = json.loads(self.path.read_text()) if self.path.exists() else {}
        for name in options.models.split(",") if options.refit else ():
            self.results.pop(name, None)

    def lists_path(self, snapshot: str, name: str, seed: int) -> Path:
        """Return the file of a peer's RECOMMENDATIONS."""
        return self.out / snapshot / f"{name}-{seed}.parquet"

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
        write_json(self.results, self.path)
        print(f"{name} {seed}: val {validation:.4f}, test {metrics[METRIC]:.4f}", flush=True)

    def start(self, name: str, title: str, source: str, settings: dict, trials: list) -> None:
        """Add a peer without runs to the results."""
        entry = {"title": title, "source": source, "settings": settings, "trials": trials}
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
        """Write PEER_RANKS of all lists."""
        tables = []
        for name, result in self.results.items():
            for seed in map(int, result["runs"]):
                lists = read_table(self.lists_path(TEST_SNAPSHOT, name, seed), RECOMMENDATIONS)
                columns = {"peer": pl.lit(name), "seed": pl.lit(seed)}
                tables.append(self.targets.test_ranks(lists).with_columns(**columns))
        write_table(pl.concat(tables), self.out / RANKS_FILE, PEER_RANKS)


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Other libraries on this pipeline's split.")
    every = ",".join([*LISTS, *COMBINATIONS])
    parser.add_argument("--models", default=every, help=f"with commas ({every})")
    parser.add_argument("--seeds", default="42", help="with commas")
    parser.add_argument("--max-minutes", type=float, default=60, help="of one training")
    parser.add_argument(
        "--published", action="store_true", help="transformers with the published dropout only"
    )
    parser.add_argument("--refit", action="store_true", help="forget the results of --models")
    parser.add_argument("--replicate", action="store_true", help="published figures instead")
    parser.add_argument("--sequences", type=Path, help="ratings.csv of ML-1M, for --replicate")
    parser.add_argument("--data", type=Path, default=Path("data"), help="of a run (data)")
    parser.add_argument("--ranks", type=Path, nargs="+", help="data/ranks of runs of all seeds")
    out = Path("benchmarks") / "out" / "peers"
    parser.add_argument("--out", type=Path, default=out, help=f"a folder for the lists ({out})")
    return parser.parse_args()


def main() -> None:
    """Run the peers, then print the tables of all results and keep them beside the lists."""
    options = parse_options()
    warnings.filterwarnings("ignore")
    if options.replicate:
        lines = []
        for line in replicate.rows(options.data, options.sequences):
            print(line, flush=True)
            lines.append(line)
        (options.out / "replication.md").write_text("\n".join(lines) + "\n")
        return
    benchmark = Benchmark(options.data, options.out, options)
    for seed in map(int, options.seeds.split(",")):
        for name in filter(None, options.models.split(",")):
            benchmark.run(name, seed)
    order = [name for name in [*LISTS, *COMBINATIONS] if name in benchmark.results]
    write_json({name: benchmark.results[name] for name in order}, benchmark.path)
    benchmark.write_ranks()
    text = report(*read_results(options.out), options.ranks or [options.data / "ranks"])
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
