"""Metrics of a training while it runs, for DVCLive and for searches; no result depends on them."""

import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common.stage import StageError

Log = Callable[[dict[str, float]], None]
PACKAGE = "dvclive==3.49.1"
# An environment variable: a file to which each epoch adds its metrics, a JSON object a line.
CURVE_FILE = "LEARNING_CURVE"


def append_epoch(metrics: dict[str, float]) -> None:
    """Append the metrics of one epoch to the file that `CURVE_FILE` names, if it is set."""
    if path := os.environ.get(CURVE_FILE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")


@contextmanager
def log_live(folder: Path, enable: bool) -> Iterator[Log]:
    """Yield a function that takes the metrics of one epoch, and writes them to `folder`.

    Without `enable`, it only calls `append_epoch`.

    Raises:
        StageError: `enable` is true, and DVCLive is not installed.
    """
    if not enable:
        yield append_epoch
        return
    if importlib.util.find_spec("dvclive") is None:
        raise StageError(f"dvclive: is true, but not installed; `pip install {PACKAGE}`, or false")
    from dvclive import Live

    # By default DVCLive would rewrite dvc.yaml and save a DVC experiment.
    with Live(str(folder), dvcyaml=False, save_dvc_exp=False) as live:

        def log(metrics: dict[str, float]) -> None:
            append_epoch(metrics)
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.next_step()

        yield log
