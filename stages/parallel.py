"""Independent parts of NumPy work, side by side."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController
from tqdm import tqdm

BLAS = ThreadpoolController()
Item, Result = TypeVar("Item"), TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], shown: str | None = None
) -> list[Result]:
    """`function` of each of `items`, in their order.

    NumPy lets other threads work while it computes. Its matrix products keep to their own thread
    meanwhile: shared out as well, they would wait for each other. On a terminal a progress line
    says how many of what is `shown` are done.
    """
    if len(items) == 1:
        return [function(items[0])]
    with BLAS.limit(limits=1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(function, items)
        hidden = None if shown else True  # None: where the output is no terminal
        return list(tqdm(done, shown, len(items), leave=False, disable=hidden))
