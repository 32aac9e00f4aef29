"""Connect to a Ray cluster, and run functions on its machines.

Imported only where `backend` is `ray`. Nothing here changes a result.
"""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import Field

from stages.common.instructions import NATIVE, PINS
from stages.common.params import Section, load_params
from stages.common.stage import StageError
from stages.parallel.process import mark_as_worker

PACKAGE = Path(__file__).resolve().parents[2]  # the package `stages`
PENDING_PER_PROCESSOR = 2  # tasks that may be sent ahead of the consumer
MAX_RETRIES = 5  # of a task whose machine was lost
CHECK_SECONDS = 15.0  # without a result, after which the cluster's processors are counted
MAX_SECONDS_WITHOUT_CPU = 120.0
# Where a worker finds its storage; the keys to it are never sent.
STORAGE_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION")
FORWARDED_VARIABLES = (*STORAGE_VARIABLES, *PINS, NATIVE, "XLA_FLAGS")
THREAD_VARIABLES = ("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
ADVICE = "start one and set its token (docs/cluster.md), or set `backend: local`"
Item, Result = TypeVar("Item"), TypeVar("Result")


class RayParams(Section):
    """The cluster to use, and how work is split for it."""

    address: str
    """`local` for a small cluster on this machine while a stage runs, `auto` for a cluster that
    already runs on this machine, or host:port of a cluster's head.
    """

    storage: str
    """A folder that every machine sees under the same path, or s3://bucket/prefix."""

    shards: int = Field(ge=1, le=100_000)
    """Shards into which tables are split; several per processor keep all processors busy."""

    workers: int = Field(ge=1, le=10_000)
    """Processors of a `local` cluster, and processes that train one model."""

    @property
    def storage_root(self) -> str:
        """`storage` as an absolute path or URL, which does not depend on a process's folder."""
        if self.storage.startswith("s3://"):
            return self.storage
        return str(Path(self.storage).resolve())


def ray_params() -> RayParams:
    """Read and check the section `ray` of params.yaml."""
    params = load_params(RayParams, "ray")
    if not re.fullmatch(r"local|auto|[\w.\-\[\]:]+:\d+", params.address):
        raise StageError(f"ray.address: is {params.address!r}; use local, auto or host:port")
    if not re.fullmatch(r"s3://[^/]+(/.*)?|(?!\w+://).+", params.storage):
        raise StageError(f"ray.storage: is {params.storage!r}; use a folder or s3://bucket/prefix")
    return params


def import_ray() -> ModuleType:
    """Import `ray`, with token authentication, and without its telemetry.

    Raises:
        StageError: Ray is not installed.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Silences a warning about accelerators, which a local cluster does not use.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise StageError(
            "backend: is ray, which is not installed; pip install -r requirements-ray.txt"
        ) from None
    return ray


@cache
def connect() -> ModuleType:
    """Connect this process to the cluster that params.yaml names, and return the module `ray`.

    Raises:
        StageError: There is no such cluster, or it rejects this process.
    """
    params, ray = ray_params(), import_ray()
    if ray.is_initialized():
        return ray
    variables = dict.fromkeys(THREAD_VARIABLES, "1")
    variables |= {name: os.environ[name] for name in FORWARDED_VARIABLES if name in os.environ}
    settings: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    environment: dict[str, Any] = {"env_vars": variables}
    if params.address == "local":
        settings |= {"num_cpus": params.workers, "include_dashboard": False}
        variables["PYTHONPATH"] = str(PACKAGE.parent)
    else:  # its machines may lack the code, or have another version of it
        environment["py_modules"] = [str(PACKAGE)]
    try:
        ray.init(address=params.address, runtime_env=environment, **settings)
    except ray.exceptions.AuthenticationError as error:
        cause = str(error).strip().splitlines()[0]
        raise StageError(
            f"ray.address: {params.address} rejects this process ({cause}); "
            "set RAY_AUTH_TOKEN_PATH to the file with the cluster's token"
        ) from None
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StageError(
            f"ray.address: no cluster at {params.address} ({cause}); {ADVICE}"
        ) from None
    return ray


def cluster_lost(error: Exception) -> StageError:
    """Return the error to raise when Ray itself fails while work is under way."""
    cause = (str(error).strip().splitlines() or [""])[0]
    return StageError(
        f"ray.address: the cluster is lost ({type(error).__name__}: {cause}); {ADVICE}"
    )


_functions: dict[str, Callable] = {}  # in a worker process: the function it called last, by key


def _call(key: str, reference: list, item: Any) -> Any:
    """Call, in a worker process, the function behind `reference` with `item`.

    A function may carry much data, such as an index, so each process unpacks it only once.

    Args:
        key: Identifies the function.
        reference: One Ray object reference. In a list, Ray does not resolve it for every call.
        item: The function's argument.
    """
    if key not in _functions:
        import ray

        mark_as_worker()
        _functions.clear()
        _functions[key] = ray.get(reference[0])
    return _functions[key](item)


def ray_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `function(item)` for each of `items`, in their order; each call uses one processor.

    Items are taken from the iterable shortly before they are sent. When a machine is lost, other
    machines repeat its calls.

    Raises:
        StageError: The function raised it, or the cluster is lost.
    """
    ray = connect()
    reference = ray.put(function)
    call = ray.remote(num_cpus=1, max_retries=MAX_RETRIES, scheduling_strategy="SPREAD")(_call)
    pending: deque = deque()
    try:
        for item in items:
            pending.append(call.remote(reference.hex(), [reference], item))
            processors = max(1, int(ray.cluster_resources().get("CPU", 0)))
            if len(pending) > PENDING_PER_PROCESSOR * processors:
                yield _result(ray, pending.popleft())
        while pending:
            yield _result(ray, pending.popleft())
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StageError | MemoryError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise cluster_lost(error) from None
    finally:
        for task in pending:  # the consumer stopped early, or a task failed
            ray.cancel(task)


def _result(ray: ModuleType, task: Any) -> Any:
    """Return the result of a task, once it is there.

    Raises:
        StageError: The cluster has had no processor for `MAX_SECONDS_WITHOUT_CPU`.
    """
    seconds_without_cpu = 0.0
    while True:
        try:
            return ray.get(task, timeout=CHECK_SECONDS)
        except ray.exceptions.GetTimeoutError:
            # Without this check, ray.get waits forever on a cluster without CPUs.
            has_cpu = ray.cluster_resources().get("CPU")
            seconds_without_cpu = 0.0 if has_cpu else seconds_without_cpu + CHECK_SECONDS
            if seconds_without_cpu >= MAX_SECONDS_WITHOUT_CPU:
                raise StageError(
                    f"ray.address: the cluster has had no processor for {seconds_without_cpu:.0f} s"
                    "; start a worker node (docs/cluster.md)"
                ) from None
