"""Whether this process is one of many workers on its machine, and may use one thread only."""

_is_worker = False


def mark_as_worker() -> None:
    """Do everything in one thread from now on: other workers use the other processors."""
    global _is_worker
    _is_worker = True


def is_worker() -> bool:
    """Whether `mark_as_worker` was called in this process."""
    return _is_worker


def thread_limit(threads: int) -> int:
    """Return how many threads a library may use here: `threads`, or 1 in a worker."""
    return 1 if _is_worker else threads
