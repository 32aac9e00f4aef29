"""Measure all steps of one data set, and print the table; see `benchmarks.costs`."""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.costs.model_step import COUNT
from benchmarks.peers.data import METRIC, Snapshot, Targets
from benchmarks.run import Cost, measure
from benchmarks.steps import DATA, ROOT, Step, run, select_steps, set_params, steps
from benchmarks.tables import header
from stages.common.files import write_json
from stages.data.snapshots import TEST_SNAPSHOT
from stages.models.top_k import take_unseen

# Not "pandas": Python would import the folder where the package is missing.
PANDAS_FOLDER = "pandas_tables"
DATA_STEPS = ("clean", "positives", "time_split", "histories")
# The models of each task, this project's first: their titles by their names in MODELS.
TASKS = {
    "item-kNN": {
        "own.item_knn": "this project",
        "libraries.implicit_knn": "implicit",
        "libraries.lenskit_knn": "LensKit",
    },
    "EASE": {
        "own.ease": "this project",
        "libraries.rectools_ease": "RecTools",
        "libraries.lenskit_ease": "LensKit",
    },
    "factors": {"own.id": "this project, `id`", "libraries.implicit_als": "implicit, ALS"},
    "transformer": {
        "own.history": "this project, `history`",
        "libraries.rectools_sasrec": "RecTools, SASRec",
    },
}
COLUMNS = ["fit s", "lists s", "GiB", METRIC, "times the seconds", "times the GiB"]


class Result(NamedTuple):
    """The cost of a step, which is a whole process if it has no lists."""

    fit: float
    lists: float | None
    gib: float
    metric: float | None

    @property
    def seconds(self) -> float:
        """Of both parts."""
        return self.fit + (self.lists or 0)


def unseen_lists(lists: pl.DataFrame, seen: np.ndarray) -> pl.DataFrame:
    """Return RECOMMENDATIONS without the movies that a user has rated.

    Args:
        lists: user_id, movie_id and score, in any order.
        seen: Sorted keys of the pairs that users have rated.
    """
    lists = lists.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    columns = (lists[name].to_numpy()[:, None] for name in ("movie_id", "score"))
    unseen = take_unseen(lists["user_id"].to_numpy(), *columns, seen, COUNT)
    return unseen.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.UInt16).over("user_id"))


class Runner:
    """Runs every step in a process of its own, and keeps the results in results.json."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work = options, options.work
        self.path = options.work / "results.json"
        self.results: dict[str, Result | str] = {}
        self.peers = str(options.peers.absolute())

    def prepare(self) -> list[Step]:
        """Create the folder of the run; return all stages."""
        self.work.mkdir(parents=True)
        set_params(self.work, ROOT, backend="local")
        (self.work / "data").mkdir()
        (self.work / "data" / "raw").symlink_to(self.options.source.resolve())
        return steps(ROOT)

    def measure(self, name: str, command: list[str], folder: Path) -> Cost | None:
        """Run a command with the limits; without success, the result is a text."""
        try:
            limited = ["timeout", str(self.options.limit), *command]
            return measure(limited, folder, self.options.memory)
        except SystemExit as error:
            code = str(error).rpartition(" ")[2]
            is_late = code == "124"
            self.results[name] = f"over {self.options.limit} s" if is_late else f"failed ({code})"
            return None

    def run_data(self, all_steps: list[Step]) -> None:
        """Measure the data stages, and the same work in pandas."""
        for step in select_steps(DATA_STEPS, all_steps):
            command = shlex.split(step.command.replace("$DVC_STAGE", step.name))
            cost = self.measure(f"own {step.name}", [sys.executable, *command[1:]], self.work)
            self.add(f"own {step.name}", cost)
            arguments = ["--source", str(self.options.source.resolve()), "--work", PANDAS_FOLDER]
            command = [self.peers, "-m", "benchmarks.costs.pandas_steps", step.name, *arguments]
            self.add(f"pandas {step.name}", self.measure(f"pandas {step.name}", command, self.work))
        rest = [name for name in (*DATA, "genre_features") if name not in DATA_STEPS]
        for step in select_steps(tuple(rest), all_steps):
            run(step, self.work, self.options.limit)

    def add(self, name: str, cost: Cost | None) -> None:
        """Keep the result of a data step."""
        if cost:
            self.results[name] = Result(cost.seconds, None, cost.gib, None)
        self.show(name)

    def run_model(self, name: str, snapshot: Snapshot, targets: Targets) -> None:
        """Measure a model."""
        lists, log = self.work / f"{name}.parquet", self.work / f"{name}.json"
        python = sys.executable if name.startswith("own.") else self.peers
        command = [python, "-m", "benchmarks.costs.model_step", name, "--data", "data"]
        command += ["--lists", lists.name, "--epochs", str(self.options.epochs)]
        cost = self.measure(name, ["sh", "-c", f"{shlex.join(command)} > {log.name}"], self.work)
        if cost:
            times = json.loads(log.read_text().splitlines()[-1])
            unseen = unseen_lists(pl.read_parquet(lists), snapshot.seen)
            metric = targets.test_metrics(unseen)[METRIC]
            self.results[name] = Result(times["fit"], times["recommend"], cost.gib, metric)
        self.show(name)

    def show(self, name: str) -> None:
        """Print the result of a step, and keep all results."""
        print(name, self.results[name], flush=True)
        write_json(self.results, self.path)


def short(figure: float) -> str:
    """Return a figure with one decimal, or with two if it is below 1."""
    return f"{figure:.1f}" if figure >= 1 else f"{figure:.2f}"


def row(title: str, result: Result | str, own: Result | str) -> str:
    """Return the row of a step, beside this project's step of the same task."""
    if isinstance(result, str):
        return f"| {title} | {result} |" + " |" * (len(COLUMNS) - 1)
    cells = [short(result.fit), "", short(result.gib), "", "", ""]
    if result.lists is not None and result.metric is not None:
        cells[1], cells[3] = short(result.lists), f"{result.metric:.4f}"
    if isinstance(own, Result) and own is not result:
        cells[4:] = [short(result.seconds / own.seconds), short(result.gib / own.gib)]
    return f"| {title} | {' | '.join(cells)} |"


def table(results: dict[str, Result | str]) -> list[str]:
    """Return the lines of the table."""
    lines = [header("step", COLUMNS)]
    for step in DATA_STEPS:
        own = results[f"own {step}"]
        lines.append(row(f"`{step}`: this project", own, own))
        lines.append(row(f"`{step}`: pandas", results[f"pandas {step}"], own))
    for task, models in TASKS.items():
        own = results[next(iter(models))]
        lines += [row(f"{task}: {title}", results[name], own) for name, title in models.items()]
    return lines


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description="Costs of steps beside other libraries.")
    parser.add_argument("--source", type=Path, required=True, help="a folder with raw files")
    parser.add_argument("--work", type=Path, required=True, help="a folder to create")
    parser.add_argument("--epochs", type=int, default=1, help="of the transformers (1)")
    parser.add_argument("--limit", type=int, default=600, help="seconds of a step (600)")
    parser.add_argument("--memory", type=float, help="GiB of address space for each step")
    python = Path(".venv-peers") / "bin" / "python"
    parser.add_argument("--peers", type=Path, default=python, help=f"after `make peers` ({python})")
    options = parser.parse_args()
    if not options.peers.exists():
        raise SystemExit(f"{options.peers}: not found; run `make peers`, or give --peers")
    if options.work.exists():
        raise SystemExit(f"{options.work}: exists; give a folder to create")
    os.environ["PYTHONPATH"] = str(ROOT)
    runner = Runner(options)
    runner.run_data(runner.prepare())
    data = runner.work / "data"
    snapshot, targets = Snapshot(data, TEST_SNAPSHOT), Targets(data)
    for models in TASKS.values():
        for name in models:
            runner.run_model(name, snapshot, targets)
    print("\n".join(["", *table(runner.results)]))


if __name__ == "__main__":
    main()
