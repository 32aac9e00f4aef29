"""Metrics of a training while it runs, shown by DVCLive; no result depends on them."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common.stage import StageError

Log = Callable[[dict[str, float]], None]
PACKAGE = "dvclive==3.49.1"


@contextmanager
def log_live(folder: Path, enable: bool) -> Iterator[Log]:
    """Yield a function that takes the metrics of one epoch, and writes them to `folder`.

    Without `enable`, the function does nothing.

    Raises:
        StageError: `enable` is true, and DVCLive is not installed.
    """
    if not enable:
        yield lambda metrics: None
        return
    if importlib.util.find_spec("dvclive") is None:
        raise StageError(f"dvclive: is true, but not installed; `pip install {PACKAGE}`, or false")
    from dvclive import Live

    # By default DVCLive would rewrite dvc.yaml and save a DVC experiment.
    with Live(str(folder), dvcyaml=False, save_dvc_exp=False) as live:

        def log(metrics: dict[str, float]) -> None:
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.next_step()

        yield log
