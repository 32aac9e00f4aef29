"""How many threads this process may use: one only, if it is one of many workers on its machine."""

import os

_is_worker = False


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
