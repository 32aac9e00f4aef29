"""Progress of long work: a bar on a terminal, elsewhere a line a minute at most."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm

from stages.cli.place import format_duration

LINE_SECONDS = 60.0


class Advance(Protocol):
    """Counts work as done."""

    def __call__(self, count: int = 1, note: str = "") -> None:
        """Count `count` more as done; `note` says how the work goes, such as `loss 0.5`."""


class Lines:
    """Prints how far the work is, if the last line is `LINE_SECONDS` ago."""

    def __init__(
        self,
        work: str,
        total: int,
        start: int = 0,
        *,
        is_bytes: bool = False,
        may_end_early: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            work: What is counted, such as `epochs`.
            total: How many there are; 0 if that is unknown.
            start: How many are done already.
            is_bytes: Whether bytes are counted, which are printed as kB, MB or GB.
            may_end_early: Whether `total` is an upper bound.
            clock: Returns seconds.
        """
        self.work, self.total, self.start, self.count = work, total, start, start
        self.bound, self.clock = "at most " if may_end_early else "", clock
        self.format = (lambda n: tqdm.format_sizeof(n, "B")) if is_bytes else "{:,}".format
        self.start_time = self.last_time = clock()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count, and print a line if it is time for one."""
        self.count += count
        now = self.clock()
        if now - self.last_time < LINE_SECONDS:
            return
        self.last_time = now
        line = f"{self.work}: {self.format(self.count)}"
        if self.total:
            line += f" of {self.bound}{self.format(self.total)}"
        if note:
            line += f", {note}"
        if self.count > self.start and self.total:
            seconds_each = (now - self.start_time) / (self.count - self.start)
            left = max(0, self.total - self.count) * seconds_each
            line += f"; {self.bound}{format_duration(left)} left"
        print(line, file=sys.stderr, flush=True)


def _shows_bars() -> bool:
    """Whether standard error is a terminal; some programs give one without a width."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


@contextmanager
def progress(
    work: str,
    total: int,
    start: int = 0,
    *,
    is_bytes: bool = False,
    may_end_early: bool = False,
    enable: bool = True,
) -> Iterator[Advance]:
    """Yield a function that counts work as done and shows it, on standard error.

    Args:
        work: See `Lines`, also for `total`, `start`, `is_bytes` and `may_end_early`.
        enable: Without it, nothing is shown.
    """
    if not enable or sys.stderr is None:
        yield lambda count=1, note="": None
    elif _shows_bars():
        unit = {"unit": "B", "unit_scale": True} if is_bytes else {}
        with tqdm(desc=work, total=total or None, initial=start, leave=False, **unit) as bar:

            def advance(count: int = 1, note: str = "") -> None:
                if note:
                    bar.set_postfix_str(note, refresh=False)
                bar.update(count)

            yield advance
    else:
        lines = Lines(work, total, start, is_bytes=is_bytes, may_end_early=may_end_early)
        yield lines.advance
