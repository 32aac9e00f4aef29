"""Work on a Ray cluster: the connection, and functions sent to its machines.

Imported only where `engine` is `ray`. Nothing here changes a result.
"""

import dataclasses
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar

from stages import engine
from stages.common.params import Range, load_params
from stages.common.stage import StageError

CODE = Path(__file__).resolve().parent
AHEAD = 2  # parts for each processor that are sent, or done, before they are asked for
RETRIES = 5  # of a part whose machine was lost
LOOK = 15.0  # seconds without a result, after which the cluster is looked at
PATIENCE = 120.0  # seconds for which it may be without any processor
# What a worker may use, and where its storage is; keys to it are never sent.
SENT = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION")
ONE_THREAD = ("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
START = "start one and give its token (docs/cluster.md), or set `engine: local`"
Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class RayParams:
    """`address`: `local` for a small cluster on this machine as long as a stage runs, `auto` for
    the one that runs on this machine, or host:port of a cluster's head.

    `storage`: a folder that every machine sees under this path, or s3://bucket/prefix.
    `shards`: into how many parts tables are split; several for each processor keep all busy.
    `workers`: processors of a `local` cluster, and processes that train one model.
    """

    address: str
    storage: str
    shards: Annotated[int, Range(1, 100_000)]
    workers: Annotated[int, Range(1, 10_000)]

    @property
    def root(self) -> str:
        """`storage` as every process finds it, in whatever folder it runs."""
        if self.storage.startswith("s3://"):
            return self.storage
        return str(Path(self.storage).resolve())


def ray_params() -> RayParams:
    """The checked section `ray`."""
    params = load_params(RayParams, "ray")
    if not re.fullmatch(r"local|auto|[\w.\-\[\]:]+:\d+", params.address):
        raise StageError(f"ray.address: is {params.address!r}; use local, auto or host:port")
    if not re.fullmatch(r"s3://[^/]+(/.*)?|(?!\w+://).+", params.storage):
        raise StageError(f"ray.storage: is {params.storage!r}; use a folder or s3://bucket/prefix")
    return params


def import_ray() -> ModuleType:
    """The module `ray`, with tokens asked for by every part of a cluster, and no telemetry."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A local cluster has all it needs; this is of a warning about accelerators that it lacks.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise StageError(
            "engine: is ray, which is not installed; pip install -r requirements-ray.txt"
        ) from None
    return ray


@cache
def connect() -> ModuleType:
    """The module `ray`, once this process belongs to the cluster that params.yaml names.

    Raises:
        StageError: There is no such cluster, or it does not let this process in.
    """
    params, ray = ray_params(), import_ray()
    if ray.is_initialized():
        return ray
    variables = dict.fromkeys(ONE_THREAD, "1")
    variables |= {name: os.environ[name] for name in SENT if name in os.environ}
    settings: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    environment: dict[str, Any] = {"env_vars": variables}
    if params.address == "local":
        settings |= {"num_cpus": params.workers, "include_dashboard": False}
        variables["PYTHONPATH"] = str(CODE.parent)
    else:  # its machines may not have the code, or have another version
        environment["py_modules"] = [str(CODE)]
    try:
        ray.init(address=params.address, runtime_env=environment, **settings)
    except ray.exceptions.AuthenticationError as error:
        why = str(error).strip().splitlines()[0]
        raise StageError(
            f"ray.address: {params.address} does not let us in ({why}); "
            "set RAY_AUTH_TOKEN_PATH to the cluster's token"
        ) from None
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StageError(f"ray.address: no cluster at {params.address} ({why}); {START}") from None
    return ray


def lost(error: Exception) -> StageError:
    """What to say when Ray itself has failed in the middle of the work."""
    why = (str(error).strip().splitlines() or [""])[0]
    return StageError(f"ray.address: the cluster is lost ({type(error).__name__}: {why}); {START}")


_functions: dict[str, Callable] = {}  # of a worker process: the last one that it was sent


def _call(key: str, shared: list, item: Any) -> Any:
    """In a worker: the function that `shared` refers to, of `item`.

    A function brings all that it knows, such as an index: it is unpacked once in a process.
    """
    if key not in _functions:
        import ray

        engine.be_worker()
        _functions.clear()
        _functions[key] = ray.get(shared[0])
    return _functions[key](item)


def on_ray(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `function` of each of `items`, in their order; one processor each, on any machine.

    Items are taken one by one, not long before they are needed. What was lost with a machine is
    done again by another one.

    Raises:
        StageError: One that the function raised, or the cluster is lost.
    """
    ray = connect()
    shared = ray.put(function)
    call = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_call)
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(call.remote(shared.hex(), [shared], item))
            if len(waiting) > AHEAD * max(1, int(ray.cluster_resources().get("CPU", 0))):
                yield _result(ray, waiting.popleft())
        while waiting:
            yield _result(ray, waiting.popleft())
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StageError | MemoryError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise lost(error) from None
    finally:
        for part in waiting:  # of a caller who wants no more
            ray.cancel(part)


def _result(ray: ModuleType, part: Any) -> Any:
    """What a part has returned; without this look, no result would ever come from no machine."""
    bare = 0.0
    while True:
        try:
            return ray.get(part, timeout=LOOK)
        except ray.exceptions.GetTimeoutError:
            bare = 0.0 if ray.cluster_resources().get("CPU") else bare + LOOK
            if bare >= PATIENCE:
                raise StageError(
                    f"ray.address: the cluster has had no processor for {bare:.0f} s; "
                    "start a worker node (docs/cluster.md)"
                ) from None
