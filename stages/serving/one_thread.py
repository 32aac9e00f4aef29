"""Limit NumPy and Polars to one thread. Programs that serve single users import this module first.

An answer takes many steps of microseconds. If threads shared each step, it would wait for the
slowest of them, which is long on a busy machine. Variables that are already set in the environment
win, and the limit has no effect on a Polars that was imported before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = ("OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Set the variables while the libraries start, which is when they read them."""
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

    polars.thread_pool_size()  # this call starts the threads
