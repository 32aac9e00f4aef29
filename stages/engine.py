"""Where independent parts of the work run: in threads of this process, or on a Ray cluster.

`engine` in params.yaml chooses. What a part returns does not depend on where it ran, so nothing
but this module knows of the choice, except the training of models, which Ray does otherwise.
`stages.cluster` and `stages.shards` are imported for `ray` only.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Literal, TypeVar

import polars as pl
from threadpoolctl import ThreadpoolController
from tqdm import tqdm

from stages.common.params import PARAMS, read_value

BLAS = ThreadpoolController()
AHEAD = 4  # parts for each processor that may be done, or under way, before they are asked for
Item, Result = TypeVar("Item"), TypeVar("Result")
Tables = tuple[pl.DataFrame, ...]
_workers: list[bool] = []  # not empty in a process that works for others, on one processor


@cache
def chosen() -> str:
    """`local` or `ray`; without a params.yaml, as where a bundle is served, `local`."""
    return read_value("engine", Literal["local", "ray"]) if PARAMS.exists() else "local"


def be_worker() -> None:
    """Do everything in this thread from now on: this process is one of many on its machine."""
    _workers[:] = [True]


def allowed_threads(most: int) -> int:
    """How many threads a library may use here, `most` unless this is one of many processes."""
    return 1 if _workers else most


def over(
    function: Callable[[Any], Result],
    items: Sequence[Item],
    shown: str | None = None,
    alone: bool = False,
    send: bool = True,
    read: Callable[[Item], Any] | None = None,
) -> Iterator[Result]:
    """Yield `function` of each of `items`, in their order; some are computed ahead.

    Args:
        function: Of one item; it shares nothing that it changes, and reads no files: a cluster's
            machines have none of this one's.
        items: The parts of the work.
        shown: What is counted in a progress line, on a terminal.
        alone: Whether the function makes use of all processors by itself, so that here, unlike
            on a cluster, one part comes after the other.
        send: Whether a part is worth sending to another machine.
        read: What `function` gets instead of an item. It runs where the files are: on a cluster
            in this process, shortly before an item is sent.
    """
    here = function if read is None else lambda item: function(read(item))
    away = send and chosen() == "ray"
    if _workers or len(items) == 1 or (alone and not away):
        done: Iterable[Result] = map(here, items)
    elif not away:
        done = _in_threads(here, items)
    else:
        from stages.cluster import on_ray

        done = on_ray(function, items if read is None else map(read, items))
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


def by_users(
    name: str, function: Callable[..., Tables], *tables: pl.DataFrame
) -> list[tuple[pl.DataFrame, ...]]:
    """`function` of `tables`: whole here, on a cluster of some users' rows at a time.

    Args:
        name: Of the work, for people who look into `ray.storage`.
        function: Of as many tables, of all rows of some users, in their order. It treats each
            user by itself, bears tables without rows, and reads no files.
        tables: Each with a column user_id.

    Returns:
        What the function returned, once for each part of the users.
    """
    if chosen() == "local":
        return [function(*tables)]
    from stages.shards import on_shards

    return on_shards(name, function, tables)


def of_users(name: str, function: Callable[..., Tables], *tables: pl.DataFrame) -> Tables:
    """`by_users`, put together again: what `function` returns of whole `tables`.

    All that it returns has a column user_id and is sorted by it.
    """
    parts = by_users(name, function, *tables)
    if len(parts) == 1:
        return parts[0]
    # A user's rows are in one part, and the sort leaves them in their order.
    return tuple(pl.concat(made).sort("user_id", maintain_order=True) for made in zip(*parts))
