"""Run independent work items in threads of this process, or on a Ray cluster.

`backend` in params.yaml chooses. A result does not depend on where it was computed, so only this
module knows the choice; the exception is the training of models, which Ray distributes
differently. `stages.parallel.ray_backend` is imported for `ray` only.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, Literal, TypeVar

import polars as pl
from threadpoolctl import ThreadpoolController

from stages.cli.progress import progress as show_progress
from stages.common.params import PARAMS, read_value
from stages.parallel.process import is_worker, thread_count

BLAS = ThreadpoolController()
PENDING_PER_PROCESSOR = 4  # items that may be computed ahead of the consumer
MAX_ROWS = 20_000_000  # of a table that a function of users gets at a time: bounds the memory
Item, Result = TypeVar("Item"), TypeVar("Result")
Tables = tuple[pl.DataFrame, ...]


@cache
def backend() -> str:
    """Return `local` or `ray`; `local` where there is no params.yaml, as when serving a bundle."""
    return read_value("backend", Literal["local", "ray"]) if PARAMS.exists() else "local"


def parallel_map(
    function: Callable[[Any], Result],
    items: Sequence[Item],
    progress: str | None = None,
    *,
    uses_all_cores: bool = False,
    local_only: bool = False,
    read: Callable[[Item], Any] | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` for each of `items`, in their order; some are computed ahead.

    Args:
        function: Must not change shared state, and must not read files, which other machines of
            a cluster do not have.
        items: The work items.
        progress: Name of the items for a display of the progress; None shows none.
        uses_all_cores: Whether `function` uses all cores by itself. Then local items run one
            after the other.
        local_only: Whether an item is too little work to be sent to another machine.
        read: Reads what `function` needs for an item, in the process that has the files: with
            Ray in this one, shortly before the item is sent.
    """
    if backend() == "ray" and not (local_only or is_worker() or len(items) == 1):
        from stages.parallel.ray_backend.cluster import ray_map

        results: Iterable[Result] = ray_map(function, items if read is None else map(read, items))
    else:
        compute = function if read is None else lambda item: function(read(item))
        in_turn = is_worker() or uses_all_cores or len(items) == 1
        results = map(compute, items) if in_turn else _map_in_threads(compute, items)
    enable = progress is not None and not is_worker()
    with show_progress(progress or "", len(items), enable=enable) as advance:
        for result in results:
            advance()
            yield result


def _map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Map in threads: NumPy releases the interpreter lock while it computes.

    BLAS is limited to one thread meanwhile, or its threads and ours would wait for each other.
    """
    processors = thread_count()
    pending: deque = deque()
    with BLAS.limit(limits=1, user_api="blas"), ThreadPoolExecutor(processors) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > PENDING_PER_PROCESSOR * processors:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def map_user_shards(
    name: str, function: Callable[..., Tables], *tables: pl.DataFrame
) -> list[tuple[pl.DataFrame, ...]]:
    """Apply `function` to shards of the users of `tables`: one after the other, or on a cluster.

    Args:
        name: Of the work; part of the path in `ray.storage`.
        function: Takes as many tables, with all rows of some users in their order. It treats each
            user independently, accepts tables without rows, and reads no files.
        tables: Each with a column user_id.

    Returns:
        The results of `function`, one for each shard. Tables of up to `MAX_ROWS` rows are one
        shard here.
    """
    if backend() == "local":
        return [function(*shard) for shard in _local_shards(tables)]
    from stages.parallel.ray_backend.shards import ray_map_user_shards

    return ray_map_user_shards(name, function, tables)


def _local_shards(tables: Tables) -> Iterator[Tables]:
    """Yield the shards of this process: the rows of one range of user ids after the other.

    The largest table has at most about `MAX_ROWS` rows in a range.
    """
    largest = max(tables, key=lambda table: table.height)
    count = -(-largest.height // MAX_ROWS)
    if count <= 1:
        yield tables
        return
    user = pl.col("user_id")
    users = largest["user_id"].sort()
    cuts = users.gather([users.len() * n // count for n in range(1, count)])
    extremes = pl.concat(
        [table.select(low=user.min(), high=user.max().cast(pl.Int64) + 1) for table in tables]
    )
    bounds = extremes["low"].min(), *cuts, extremes["high"].max()
    for start, stop in pairwise(bounds):
        is_in_range = user.is_between(start, stop, closed="left")
        yield tuple(table.filter(is_in_range) for table in tables)


def map_by_user(name: str, function: Callable[..., Tables], *tables: pl.DataFrame) -> Tables:
    """Apply `function` as `map_user_shards` does, and concatenate the results.

    All tables that `function` returns have a column user_id and are sorted by it.
    """
    shards = map_user_shards(name, function, *tables)
    # A user's rows are in one shard, and the stable sort keeps their order.
    return shards[0] if len(shards) == 1 else tuple(map(_sorted_by_user, zip(*shards)))


def _sorted_by_user(parts: Tables) -> pl.DataFrame:
    """Concatenate tables, and sort the rows by user_id where they are not in its order."""
    table = pl.concat(parts)
    is_sorted = table["user_id"].is_sorted()
    return table if is_sorted else table.sort("user_id", maintain_order=True)
