"""Figures of a training while it runs, for those who have DVCLive; no result depends on them."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common.stage import StageError

Watch = Callable[[dict[str, float]], None]
PACKAGE = "dvclive==3.49.1"


@contextmanager
def live_view(folder: Path, wanted: bool) -> Iterator[Watch]:
    """A function that takes one epoch's figures; it writes them to `folder` only if `wanted`.

    Raises:
        StageError: They are wanted, and DVCLive is not installed.
    """
    if not wanted:
        yield lambda figures: None
        return
    if importlib.util.find_spec("dvclive") is None:
        raise StageError(f"dvclive: is true, but not installed; `pip install {PACKAGE}`, or false")
    from dvclive import Live

    # By default DVCLive would rewrite dvc.yaml, and make an experiment of its own.
    with Live(str(folder), dvcyaml=False, save_dvc_exp=False) as live:

        def watch(figures: dict[str, float]) -> None:
            for name, value in figures.items():
                live.log_metric(name, value)
            live.next_step()

        yield watch
