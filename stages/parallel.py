"""Independent parts of NumPy work, side by side."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

BLAS = ThreadpoolController()
Item, Result = TypeVar("Item"), TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`function` of each of `items`, in their order.

    NumPy lets other threads work while it computes. Its matrix products keep to their own thread
    meanwhile: shared out as well, they would wait for each other.
    """
    if len(items) == 1:
        return [function(items[0])]
    with BLAS.limit(limits=1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))
