"""Compare a run with another one by the validation targets: `make compare REV=main`.

    python -m stages.reporting.compare main              # the workspace with a branch or commit
    python -m stages.reporting.compare grid-1 grid-2     # two experiments

Prints the params that differ, and the metrics of the best systems and of those that differ, with
the difference and its 95% interval. Users are paired where the values of all users of both runs are
at hand; these are data, which the first run's cache or remote has to hold.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import dvc.api
import numpy as np
import polars as pl
from dvc.exceptions import DvcException
from dvc.scm import SCMError

from stages.common.console import standard_output
from stages.common.stage import StageError
from stages.evaluation.bootstrap import paired_intervals
from stages.evaluation.metrics import rank_systems
from stages.reporting.parts import leaves

METRICS, VALUES = "metrics/validation.json", "data/validation.parquet"
MAIN, SECOND = "ndcg@10", "recall@10"
NUM_SYSTEMS = 5  # the best ones of each run, and of those that differ
RESAMPLES, SEED = 2000, 0


class Run(NamedTuple):
    """What is compared of a run."""

    name: str
    params: dict[str, Any]  # by dotted key
    metrics: dict[str, dict[str, float]]  # by system
    values: pl.DataFrame | None  # system, user_id and metrics; None where not at hand


def flatten(params: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all params by dotted key."""
    return dict(pair for name, value in params.items() for pair in leaves(value, name))


def read_run(revision: str | None) -> Run:
    """Read a revision or an experiment; None is the workspace.

    Raises:
        StageError: There is no such revision, or it has no validation metrics.
    """
    name = revision or "workspace"
    try:
        params = dvc.api.params_show("params.yaml", rev=revision)
        metrics = dvc.api.metrics_show(METRICS, rev=revision)
    except SCMError:
        raise StageError(f"{name}: is no revision; give a branch, commit or experiment") from None
    except (DvcException, OSError):
        metrics = {}
    if not metrics:
        cure = "run `dvc repro`" if revision is None else "compare with one that has"
        raise StageError(f"{name}: has no {METRICS}; {cure}")
    try:
        with dvc.api.open(VALUES, rev=revision, mode="rb") as file:
            values = pl.read_parquet(file.read())
    except (DvcException, OSError):
        values = None
    return Run(name, flatten(params), metrics, values)


def changed_params(old: Run, new: Run) -> Iterator[str]:
    """Yield a line for each param that differs."""
    for key in sorted(old.params.keys() | new.params.keys()):
        before, after = (run.params.get(key, "-") for run in (old, new))
        if before != after:
            yield f"  {key}: {before} -> {after}"


def shown_systems(old: Run, new: Run) -> list[str]:
    """Return the best systems of each run and of those that differ, best of `new` first."""
    names: set[str] = set()
    changed = [name for name, row in new.metrics.items() if row != old.metrics.get(name)]
    for run, systems in ((old, list(old.metrics)), (new, list(new.metrics)), (new, changed)):
        names |= set(rank_systems(run.metrics, systems)[:NUM_SYSTEMS])

    def value(system: str) -> float:
        return next(run.metrics[system][MAIN] for run in (new, old) if system in run.metrics)

    return sorted(names, key=lambda system: (-value(system), system))


def differences(old: Run, new: Run, system: str) -> pl.DataFrame | None:
    """Return the differences of all users whom both runs have measured; None if that is unknown."""
    if old.values is None or new.values is None:
        return None
    before, after = (run.values.filter(system=system) for run in (old, new))
    both = before.join(after, on="user_id", suffix=" after", maintain_order="left")
    if both.is_empty():
        return None
    return both.select(pl.col(f"{m} after") - pl.col(m) for m in (MAIN, SECOND))


def describe(old: Run, new: Run, system: str) -> Iterator[str]:
    """Yield a line for each metric of a system."""
    table = differences(old, new, system)
    ends = None
    if table is not None:
        rng = np.random.default_rng(SEED)
        ends = np.transpose(paired_intervals(table.to_numpy(), RESAMPLES, rng))
    for number, metric in enumerate((MAIN, SECOND)):
        before, after = (run.metrics.get(system, {}).get(metric) for run in (old, new))
        texts = ["-" if value is None else f"{value:.4f}" for value in (before, after)]
        difference = ""
        if before is not None and after is not None:
            difference = f"{after - before:+.4f}"
        if ends is not None:
            low, high = ends[number]
            difference += f" ({low:+.4f} to {high:+.4f})"
        label = "" if number else system
        yield f"  {label:<24.24} {metric:<10} {texts[0]:>9} {texts[1]:>9}   {difference}"


def compare(old: Run, new: Run) -> Iterator[str]:
    """Yield the lines of the comparison, up to 120 characters each but for long params."""
    yield f"{old.name} -> {new.name}"
    yield ""
    lines = list(changed_params(old, new))
    yield "Changed params:" if lines else "No param has changed."
    yield from lines
    yield ""
    users = max(row["users"] for row in new.metrics.values())
    yield f"Validation targets of {users:,} users; rankers out of fold:"
    yield f"  {'system':<24} {'metric':<10} {'before':>9} {'after':>9}   difference (95% interval)"
    for system in shown_systems(old, new):
        yield from describe(old, new, system)
    if old.values is None or new.values is None:
        name = (old if old.values is None else new).name
        yield ""
        yield f"No intervals: {VALUES} of {name} is not in the cache; `dvc fetch` or run it here."


@standard_output()
def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(prog="python -m stages.reporting.compare", description=__doc__)
    parser.add_argument("revision", help="a branch, commit or experiment")
    parser.add_argument("other", nargs="?", help="another one (the workspace)")
    arguments = parser.parse_args()
    try:
        for line in compare(read_run(arguments.revision), read_run(arguments.other)):
            sys.stdout.write(f"{line}\n")
    except StageError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
