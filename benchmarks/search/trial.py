"""Run one trial: `dvc exp run --temp` in a process group of its own, which can be ended early."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.common.stage import StageError

# As in stages/retrieval/live_metrics.py, whose import would load TensorFlow.
CURVE_FILE = "LEARNING_CURVE"
POLL_SECONDS = 0.5
END_SECONDS = 60.0  # how long DVC may clean up before it is killed


class StoppedError(Exception):
    """The search was interrupted, and the trial was ended."""


class PrunedError(Exception):
    """The trial was ended early because its learning curve is behind."""


def read_epochs(path: Path, start: int) -> list[dict[str, float]]:
    """Return the metrics of the epochs from number `start` (from 0), without an unfinished line."""
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[start:]]


def end_group(process: subprocess.Popen, seconds: float = END_SECONDS) -> None:
    """End a process and its children as Ctrl-C does, so that DVC deletes its copy, or kill them."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(seconds)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def run_command(
    command: Sequence[str],
    log: Path,
    curve: Path,
    is_behind: Callable[[int, dict[str, float]], bool],
    stop: threading.Event,
) -> None:
    """Run a command; it is ended when `stop` is set, or `is_behind` of an epoch.

    Args:
        command: The command; its processes find its training curve file in `CURVE_FILE`.
        log: Where its output goes.
        curve: The file of the learning curve, which is made anew.
        is_behind: Called with the number (from 1) and the metrics of each epoch.
        stop: Ends the command.

    Raises:
        StoppedError: `stop` was set.
        PrunedError: The command was ended after an epoch.
        StageError: The command failed. The message ends with the first error in its output.
    """
    curve.unlink(missing_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, CURVE_FILE: str(curve.resolve())}
    epoch = 0
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, start_new_session=True
        )
        try:
            while process.poll() is None:
                if stop.wait(POLL_SECONDS):
                    raise StoppedError
                for metrics in read_epochs(curve, epoch):
                    if stop.is_set():
                        raise StoppedError
                    epoch += 1
                    if is_behind(epoch, metrics):
                        raise PrunedError
        finally:
            if process.poll() is None:
                end_group(process)
    if process.returncode:
        text = log.read_text(encoding="utf-8", errors="replace")
        errors = [line for line in text.splitlines() if line.lower().startswith("error: ")]
        raise StageError(errors[0].partition(": ")[2] if errors else f"{log}: has no error line")


def experiment_command(name: str, settings: Sequence[str], target: str) -> list[str]:
    """Return the command of an experiment in a copy of the repository."""
    options = [part for text in settings for part in ("-S", text)]
    # Trials at the same time wait for each other's short work on the repository.
    dvc = [sys.executable, "-m", "dvc", "--wait-for-lock"]
    return [*dvc, "exp", "run", "--temp", "-n", name, *options, target]


def git(*arguments: str) -> str:
    """Return the output of a Git command in the current folder.

    Raises:
        StageError: It failed.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"git {arguments[0]}: {done.stderr.strip()}; run it by hand")
    return done.stdout


def experiments() -> dict[str, str]:
    """Return the Git references of all experiments by their names."""
    references = git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    return {name.rsplit("/", 1)[1]: name for name in references if name.count("/") >= 4}


def read_result(name: str, path: str) -> str:
    """Return the text of a file of an experiment.

    Raises:
        StageError: DVC has kept no such experiment, or it lacks the file.
    """
    if name not in (references := experiments()):
        raise StageError(
            f"{name}: DVC has kept no experiment; see the traps in docs/experiments.md"
        )
    return git("show", f"{references[name]}:{path}")
