"""Train on several workers of a Ray cluster, and resume when a worker is lost.

Imported only where `backend` is `ray`. `stages.parallel.ray_backend.retrieval` and
`stages.parallel.ray_backend.ranker` define what each worker runs.
"""

import asyncio
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from stages.common.stage import StageError
from stages.parallel.ray_backend.cluster import cluster_lost, connect, ray_params
from stages.parallel.ray_backend.shards import Storage

MAX_FAILURES = 3  # restarts after lost workers; one failure more ends the training
# Workers need these variables before they import anything.
WORKER_VARIABLES = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
Checkpoint = TypeVar("Checkpoint")


def train_on_workers(
    framework: str,
    train_loop: Callable[[dict[str, Any]], None],
    config: dict[str, Any],
    name: str,
    read_checkpoint: Callable[[Path], Checkpoint],
) -> Checkpoint:
    """Run `train_loop` on all workers at once, and read the last checkpoint that it reported.

    Args:
        framework: `tensorflow` or `lightgbm`; Ray connects its workers.
        train_loop: A function of a module that workers can import. After the loss of a worker it
            is called again on new workers.
        config: The argument of `train_loop`, which also gets the key `rendezvous`. Tables are
            references (`ray.put`).
        name: What is trained, for messages.
        read_checkpoint: Reads the checkpoint's folder.

    Raises:
        StageError: Workers failed too often, or the cluster is lost.
    """
    # Otherwise everything that a worker prints appears twice.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    params, ray = ray_params(), connect()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Each of these modules imports its framework.
    if framework == "tensorflow":
        from ray.train.tensorflow import TensorflowTrainer as Trainer
    else:
        from ray.train.lightgbm import LightGBMTrainer as Trainer
    storage, run = f"{params.storage_root}/training", f"{name}-{uuid.uuid4().hex[:12]}"
    # On this node: the rendezvous must outlive any worker's machine.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    rendezvous = ray.remote(num_cpus=0, scheduling_strategy=here)(Rendezvous).remote(params.workers)
    trainer = Trainer(
        train_loop,
        train_loop_config=config | {"rendezvous": rendezvous},
        scaling_config=ray.train.ScalingConfig(
            num_workers=params.workers,
            # On different machines where there are enough: each worker uses all threads.
            placement_strategy="SPREAD",
        ),
        run_config=ray.train.RunConfig(
            name=run,
            storage_path=storage,
            failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": WORKER_VARIABLES},
        ),
    )
    try:
        with trainer.fit().checkpoint.as_directory() as folder:
            return read_checkpoint(Path(folder))
    except ray.train.TrainingFailedError as error:
        raise StageError(
            f"ray.workers: training {name} failed {MAX_FAILURES + 1} times "
            f"({first_failure(error)}); see the cluster's logs, or set `backend: local`"
        ) from error
    except ray.exceptions.RayError as error:
        raise cluster_lost(error) from error
    finally:
        with suppress(StageError):  # the storage may be out of reach
            Storage(f"{storage}/{run}").remove()


def first_failure(error: Exception) -> str:
    """Return, in one line, why the first failed worker failed."""
    failures = getattr(error, "worker_failures", {})
    for rank, failure in sorted(failures.items()):
        lines = str(failure).strip().splitlines() or [type(failure).__name__]
        return f"worker {rank}: {lines[-1].strip()}"
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


class Rendezvous:
    """A Ray actor through which the workers of a training exchange values."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.rounds: dict[str, tuple[dict[int, Any], asyncio.Event]] = {}

    async def all_gather(self, key: str, rank: int, value: Any) -> list[Any]:
        """Wait until every rank has brought a value for `key`; return the values by rank."""
        values, complete = self.rounds.setdefault(key, ({}, asyncio.Event()))
        values[rank] = value
        if len(values) == self.workers:
            complete.set()
            del self.rounds[key]
        await complete.wait()
        return [values[r] for r in range(self.workers)]


def all_gather_function(config: dict[str, Any]) -> Callable[[Any], list[Any]]:
    """Return, in a worker, a function that exchanges a value for the values of all workers.

    All workers must call it equally often.
    """
    import ray.train
    from ray.train.collective import broadcast_from_rank_zero

    rank = ray.train.get_context().get_world_rank()
    # A new key for each attempt: values that lost workers have brought must not count again.
    attempt, calls = broadcast_from_rank_zero(uuid.uuid4().hex), count()
    return lambda value: ray.get(
        config["rendezvous"].all_gather.remote(f"{attempt} {next(calls)}", rank, value)
    )
