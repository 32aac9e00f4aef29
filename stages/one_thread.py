"""Imported first by programs that answer people: NumPy and Polars then use one thread.

An answer is many steps of microseconds. Shared out, each would wait for the slowest thread, long
on a busy machine. A process that has imported Polars before keeps its threads, and so does one
whose environment sets these variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = ("OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Set the variables, for libraries that read them while they start."""
    unset = [name for name in VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, "1"))
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]


with _one_thread():
    import numpy  # noqa: F401
    import polars

    THREADS = polars.thread_pool_size()  # asking starts them
