"""Search for params with Optuna; each trial is an experiment that `dvc exp apply` takes over.

    python -m benchmarks.search --name softmax --params retrievers.id.l2=0.02..0.5:log \\
        --params retrievers.id.dropout=0.1..0.5 --objective train_retrieval@id:ndcg@10 --trials 30
    python -m benchmarks.search --name trees --params lightgbm.num_leaves=7..63 --trials 20

Trials run in copies of the repository (`dvc exp run --temp`). The study is
`benchmarks/out/search/NAME/study.db`; a call with the same --name goes on with it. See
docs/experiments.md.
"""

import argparse
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.search.page import write_page
from benchmarks.search.space import Objective, parse_objective, parse_param, setting
from benchmarks.search.study import (
    Search,
    code_digest,
    import_optuna,
    only_process,
    open_study,
    params_digest,
)
from benchmarks.search.trial import experiment_command, experiments, read_result, run_command
from stages.common.params import read_all
from stages.common.stage import StageError

OUT = Path("benchmarks") / "out" / "search"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description="Search for params with Optuna."
    )
    parser.add_argument(
        "--params",
        action="append",
        required=True,
        metavar="KEY=VALUES",
        help="a key of params.yaml and LOW..HIGH, LOW..HIGH:log or VALUE,VALUE; may be repeated",
    )
    parser.add_argument(
        "--objective",
        default="ranker_hit:ndcg@10",
        metavar="SYSTEM:METRIC",
        help="what is maximized: a system's figure in metrics/validation.json, or "
        "train_retrieval@RETRIEVER:METRIC for its inner_val targets (ranker_hit:ndcg@10)",
    )
    parser.add_argument("--name", default="search", help="of study and experiments (search)")
    parser.add_argument(
        "--trials", type=int, default=30, help="how many the study has at the end (30)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="trials at the same time (1)")
    parser.add_argument("--seed", type=int, default=0, help="of Optuna's random numbers (0)")
    parser.add_argument("--no-pruning", action="store_true", help="let every training end")
    options = parser.parse_args(arguments)
    if not NAME.fullmatch(options.name):
        raise StageError(f"--name {options.name}: use letters, digits, - and _, a letter first")
    for option in ("trials", "jobs"):
        if getattr(options, option) < 1:
            raise StageError(f"--{option} {getattr(options, option)}: give 1 or more")
    return options


def refuse_experiments(name: str, study: Path) -> None:
    """Raise a StageError if a new study would meet experiments of an earlier one."""
    if study.exists():
        return
    for experiment in sorted(experiments()):
        if re.fullmatch(rf"{re.escape(name)}-\d+", experiment):
            cure = "give another --name, or `dvc exp remove` it"
            raise StageError(f"{experiment}: is an experiment of an earlier study; {cure}")


def runner(
    name: str, folder: Path, objective: Objective, prune: bool, stop: threading.Event
) -> Callable:
    """Return the function that runs a trial through DVC, see `Search`."""

    def run(number: int, values: dict[str, Any], is_behind: Callable[[int, float], bool]) -> float:
        def check(epoch: int, metrics: dict[str, float]) -> bool:
            return prune and is_behind(epoch, metrics[objective.metric])

        experiment = f"{name}-{number}"
        settings = [setting(key, value) for key, value in values.items()]
        command = experiment_command(experiment, settings, objective.target)
        paths = (folder / f"{experiment}.{suffix}" for suffix in ("log", "curve"))
        run_command(command, *paths, check, stop)
        return objective.read(read_result(experiment, objective.path))

    return run


def search(options: argparse.Namespace) -> list[str]:
    """Run the search, and return lines about its best trial.

    Raises:
        StageError: An option, the study, or several trials in a row are wrong.
    """
    params = read_all()
    space = [parse_param(text, params) for text in options.params]
    keys = [param.key for param in space]
    if len(set(keys)) < len(keys):
        raise StageError(f"--params {max(keys, key=keys.count)}: is given twice; give it once")
    objective = parse_objective(options.objective)
    import_optuna()
    folder, stop = OUT / options.name, threading.Event()
    with only_process(folder):
        path = folder / "study.db"
        refuse_experiments(options.name, path)
        facts = {
            "--params": sorted(options.params),
            "--objective": options.objective,
            "other keys of params.yaml": params_digest(params, keys),
            "dvc.yaml, stages or sources": code_digest(),
        }
        study = open_study(path, facts, options.seed)
        prune = objective.has_curve and not options.no_pruning
        run = runner(options.name, folder, objective, prune, stop)
        try:
            Search(study, space, run, options.trials, stop).run_all(options.jobs)
        finally:
            html = folder / "study.html"
            write_page(html, study.trials, options.name, options.objective, space)
        best = study.best_trial
        return [
            f"best: {options.name}-{best.number}, {options.objective} {best.value:.4f}",
            f"dvc exp apply {options.name}-{best.number}",
            f"{html}: the study",
        ]


def main() -> None:
    """Parse the command line and run the search."""
    # SIGTERM ends the trials as Ctrl-C does. A shell's background jobs ignore SIGINT, and so would
    # the trials, which could then not be ended in an orderly way.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        for line in search(parse_options()):
            print(line)
    except StageError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; the same command goes on with the study")


if __name__ == "__main__":
    main()
