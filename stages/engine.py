"""Where independent parts of the work run: in threads of this process, or on a Ray cluster.

`engine` in params.yaml chooses. What a part returns does not depend on where it ran, so nothing
but this module knows of the choice, except the training of models, which Ray does otherwise.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal, TypeVar

from threadpoolctl import ThreadpoolController
from tqdm import tqdm

from stages.common.params import PARAMS, read_value

BLAS = ThreadpoolController()
AHEAD = 4  # parts for each processor that may be done, or under way, before they are asked for
Item, Result = TypeVar("Item"), TypeVar("Result")
_workers: list[bool] = []  # not empty in a process that works for others, on one processor


@cache
def chosen() -> str:
    """`local` or `ray`; without a params.yaml, as where a bundle is served, `local`."""
    return read_value("engine", Literal["local", "ray"]) if PARAMS.exists() else "local"


def be_worker() -> None:
    """Do everything in this thread from now on: this process is one of many on its machine."""
    _workers[:] = [True]


def over(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    shown: str | None = None,
    alone: bool = False,
) -> Iterator[Result]:
    """Yield `function` of each of `items`, in their order; some are computed ahead.

    Args:
        function: Of one item; it shares nothing that it changes.
        items: The parts of the work.
        shown: What is counted in a progress line, on a terminal.
        alone: Whether the function makes use of all processors by itself, so that here, unlike
            on a cluster, one part comes after the other.
    """
    if _workers or len(items) == 1 or (alone and chosen() == "local"):
        done: Iterable[Result] = map(function, items)
    elif chosen() == "local":
        done = _in_threads(function, items)
    else:
        from stages.cluster import on_ray

        done = on_ray(function, items)
    hidden = None if shown else True  # None: where the output is no terminal
    yield from tqdm(done, shown, len(items), leave=False, disable=hidden)


def _in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """NumPy lets other threads work while it computes.

    Its matrix products keep to their own thread meanwhile: shared out as well, they would wait
    for each other.
    """
    processors = os.cpu_count() or 1
    waiting: deque = deque()
    with BLAS.limit(limits=1, user_api="blas"), ThreadPoolExecutor(processors) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * processors:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
