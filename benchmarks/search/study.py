"""A study of Optuna in an SQLite file: opened or resumed, and filled with trials."""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.search.space import Choice, Range
from benchmarks.search.trial import PrunedError, StoppedError, git
from stages.common.stage import StageError
from stages.reporting.compare import flatten

PACKAGE = "optuna==5.0.0"
CODE = ("stages", "data/sources", "dvc.yaml")  # with params.yaml, all that decides a trial
STARTUP_TRIALS, WARMUP_EPOCHS = 5, 5  # before the median pruner ends a trial
MAX_FAILURES = 3  # trials in a row
Run = Callable[[int, dict[str, Any], Callable[[int, float], bool]], float]


def import_optuna() -> Any:
    """Return the package, which only searches need.

    Raises:
        StageError: It is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise StageError(f"optuna: is not installed; `pip install {PACKAGE}`")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def params_digest(params: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return a digest of all params but those of `keys`, which each trial sets."""
    leaves = {key: value for key, value in flatten(dict(params)).items() if key not in keys}
    return hashlib.sha256(json.dumps(leaves, sort_keys=True, default=str).encode()).hexdigest()


def code_digest() -> str:
    """Return a digest of the files of `CODE` that Git tracks, as they are in the workspace."""
    digest = hashlib.sha256()
    for name in git("ls-files", "-z", "--", *CODE).split("\0"):
        path = Path(name)
        if name and path.is_file():
            digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Refuse a second search with the same `folder` at the same time.

    Raises:
        StageError: Another process has the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StageError(f"{folder}: another search is at work here; wait for it") from None
        yield


def open_study(path: Path, facts: dict[str, Any], seed: int) -> Any:
    """Create the study at `path`, or go on with it.

    Args:
        path: An SQLite file.
        facts: What all trials of a study have to share, by a name for messages.
        seed: The seed of the first random numbers; a study that goes on draws others.

    Raises:
        StageError: The file is damaged, or is of a study with other facts.
    """
    optuna = import_optuna()
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name="search",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(STARTUP_TRIALS, WARMUP_EPOCHS),
            load_if_exists=True,
        )
        stored, trials = study.user_attrs, study.trials
    except Exception as error:  # of Optuna, SQLAlchemy, Alembic or SQLite
        line = " ".join(str(error).split())[:100]
        raise StageError(f"{path}: cannot be read ({line}); delete it") from None
    for name, value in facts.items():
        if name in stored and stored[name] != value:
            what = f"{name} differ from those at its start"
            raise StageError(f"{path}: {what}; give the same, or another --name")
        study.set_user_attr(name, value)
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(trials))
    for trial in trials:
        if trial.state == optuna.trial.TrialState.RUNNING:  # of a search that was killed
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def count_ended(study: Any) -> int:
    """Return the number of trials that have a value or were pruned."""
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)


def describe(values: dict[str, Any]) -> str:
    """Return params as `key value, key value`."""
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )


class Search:
    """Runs trials in several threads until the study has enough of them."""

    def __init__(
        self,
        study: Any,
        space: Sequence[Range | Choice],
        run: Run,
        num_trials: int,
        stop: threading.Event,
    ) -> None:
        """Prepare the search.

        Args:
            study: From `open_study`.
            space: The params.
            run: Runs the trial of a number with these params, and returns the objective. It calls
                its last argument with the number and the metric of each epoch, which returns
                whether to prune it. It raises PrunedError, StoppedError or StageError.
            num_trials: How many trials the study has at the end, without those that fail.
            stop: Set to end all trials.
        """
        self.study, self.space, self.run, self.stop = study, space, run, stop
        self.lock = threading.Lock()
        self.left, self.failures = num_trials - count_ended(study), 0

    def start_trial(self) -> Any | None:
        """Return a new trial; None if there are enough, or nothing works."""
        with self.lock:
            if self.left <= 0 or self.failures >= MAX_FAILURES or self.stop.is_set():
                return None
            self.left -= 1
            return self.study.ask()

    def run_trial(self, trial: Any) -> str:
        """Run one trial, store how it ended, and return a line that says so."""
        from optuna.trial import TrialState

        def is_behind(epoch: int, value: float) -> bool:
            trial.report(value, epoch)
            return trial.should_prune()

        start = time.monotonic()
        values: dict[str, Any] = {}
        value, state, end = None, TrialState.FAIL, ""
        try:
            values = {param.key: param.suggest(trial) for param in self.space}
            value = self.run(trial.number, values, is_behind)
            state, end = TrialState.COMPLETE, f"{value:.4f}"
        except PrunedError:
            state, end = TrialState.PRUNED, "pruned, its curve is behind"
        except StoppedError:
            end = "interrupted"
        except StageError as error:
            end = f"failed: {error}"
        finally:  # also after Ctrl-C and bugs
            self.study.tell(trial.number, value, state)
        failed = state == TrialState.FAIL
        with self.lock:
            self.failures = self.failures + 1 if failed else 0
            self.left += failed
        seconds = time.monotonic() - start
        return f"trial {trial.number}: {describe(values)} -> {end}, {seconds:.0f} s"

    def worker(self) -> None:
        """Run trials until there are enough."""
        while trial := self.start_trial():
            print(self.run_trial(trial), flush=True)

    def run_all(self, jobs: int) -> None:
        """Run the trials, `jobs` at the same time.

        Raises:
            KeyboardInterrupt: Ctrl-C; all trials have ended, those at work as failed.
            StageError: `MAX_FAILURES` trials in a row have failed.
        """
        with ThreadPoolExecutor(jobs) as pool:
            try:
                workers = [pool.submit(self.worker) for _ in range(jobs)]
                for worker in workers:
                    worker.result()
            finally:
                self.stop.set()
        if self.failures >= MAX_FAILURES:
            raise StageError(f"{MAX_FAILURES} trials in a row have failed; see the errors above")
