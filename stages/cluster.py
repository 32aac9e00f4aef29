"""The connection to a Ray cluster. Imported only where `engine` is `ray`."""

import dataclasses
import os
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from stages.common.params import Range, load_params
from stages.common.stage import StageError

CODE = Path(__file__).resolve().parent
# What a worker may use, and where its storage is; keys to it are never sent.
SENT = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION")
ONE_THREAD = ("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
START = "start one (docs/cluster.md), or set `local`"


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
