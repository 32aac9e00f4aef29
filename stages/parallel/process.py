"""How many threads this process may use: one only, if it is one of many workers on its machine."""

import os
import time

_is_worker = False
STAT = "/proc/stat"  # ticks of every processor since the start of the machine


def mark_as_worker() -> None:
    """Do everything in one thread from now on: other workers use the other processors."""
    global _is_worker
    _is_worker = True


def is_worker() -> bool:
    """Whether `mark_as_worker` was called in this process."""
    return _is_worker


def thread_count() -> int:
    """Return how many threads to use: one for each processor of this process, 1 in a worker."""
    if _is_worker:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


def openmp_threads(seconds: float = 0.3) -> int:
    """Return how many threads OpenMP is to use, 0 if `OMP_NUM_THREADS` says it.

    Its threads wait for each other at every step, so all are as slow as the slowest one. So a
    processor that other processes use does not count, but one always does. The processors are
    watched for `seconds`. All of them count where the system does not say what they do (macOS).
    """
    count = thread_count()
    if "OMP_NUM_THREADS" in os.environ:
        return 0
    if count == 1 or not os.path.exists(STAT):
        return count
    before = _processor_ticks()
    time.sleep(seconds)
    shares = []
    for (idle, total), (idle_before, total_before) in zip(_processor_ticks(), before):
        shares.append((idle - idle_before) / max(total - total_before, 1))
    return max(1, min(count, round(sum(shares))))


def _processor_ticks() -> list[tuple[int, int]]:
    """Return the idle and all ticks of each processor of this process."""
    names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    with open(STAT, encoding="ascii") as stat:
        lines = [line.split() for line in stat]
    rows = [[int(value) for value in values[:8]] for name, *values in lines if name in names]
    return [(row[3] + row[4], sum(row)) for row in rows]  # idle, and waiting for a disk
