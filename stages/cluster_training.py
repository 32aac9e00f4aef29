"""A training on a Ray cluster: several workers, taken up again where one of them is lost.

Imported only where `engine` is `ray`. `stages.cluster_retrieval` and `stages.cluster_ranker` say
what the workers do.
"""

import asyncio
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from stages.cluster import connect, lost, ray_params
from stages.common.stage import StageError
from stages.shards import Storage

FAILURES = 3  # lost workers after which a training is given up
# What workers have to know before they import anything.
VARIABLES = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
Read = TypeVar("Read")


def train_on_workers(
    framework: str,
    loop: Callable[[dict[str, Any]], None],
    config: dict[str, Any],
    name: str,
    read: Callable[[Path], Read],
) -> Read:
    """Run `loop` on every worker at once, and `read` the last checkpoint that it has reported.

    Args:
        framework: `tensorflow` or `lightgbm`, whose workers find each other.
        loop: Of a module that workers can import. It is called again, on new workers, after
            one was lost.
        config: What `loop` gets, and `exchange_of`. Tables are in it as references (`ray.put`).
        name: Of what is trained, for messages.
        read: Of the checkpoint's folder.

    Raises:
        StageError: Workers were lost too often, or the cluster is.
    """
    # Else what a worker prints comes twice.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    params, ray = ray_params(), connect()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Each brings its framework along.
    if framework == "tensorflow":
        from ray.train.tensorflow import TensorflowTrainer as Trainer
    else:
        from ray.train.lightgbm import LightGBMTrainer as Trainer
    place, run = f"{params.root}/training", f"{name}-{uuid.uuid4().hex[:12]}"
    # Not on a machine that may be lost while this one goes on.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    meeting = ray.remote(num_cpus=0, scheduling_strategy=here)(Meeting).remote(params.workers)
    trainer = Trainer(
        loop,
        train_loop_config=config | {"meeting": meeting},
        scaling_config=ray.train.ScalingConfig(
            num_workers=params.workers,
            # On machines of their own as far as there are: each makes use of all threads.
            placement_strategy="SPREAD",
        ),
        run_config=ray.train.RunConfig(
            name=run,
            storage_path=place,
            failure_config=ray.train.FailureConfig(max_failures=FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": VARIABLES},
        ),
    )
    try:
        with trainer.fit().checkpoint.as_directory() as folder:
            return read(Path(folder))
    except ray.train.TrainingFailedError as error:
        raise StageError(
            f"ray.workers: training {name} failed {FAILURES + 1} times ({reason(error)}); "
            "see the cluster's logs, or set `engine: local`"
        ) from error
    except ray.exceptions.RayError as error:
        raise lost(error) from error
    finally:
        with suppress(StageError):  # what cannot be reached any more is left
            Storage(f"{place}/{run}").remove()


def reason(error: Exception) -> str:
    """What went wrong on one of the workers, in a line."""
    failures = getattr(error, "worker_failures", {})
    for rank, failure in sorted(failures.items()):
        lines = str(failure).strip().splitlines() or [type(failure).__name__]
        return f"worker {rank}: {lines[-1].strip()}"
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


class Meeting:
    """Where workers bring a value each, and leave with those of all; an actor."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.rounds: dict[str, tuple[dict[int, Any], asyncio.Event]] = {}

    async def bring(self, key: str, rank: int, value: Any) -> list[Any]:
        """The values of all ranks, once they are there."""
        values, complete = self.rounds.setdefault(key, ({}, asyncio.Event()))
        values[rank] = value
        if len(values) == self.workers:
            complete.set()
            del self.rounds[key]
        await complete.wait()
        return [values[r] for r in range(self.workers)]


def exchange_of(config: dict[str, Any]) -> Callable[[Any], list[Any]]:
    """A function of workers, each of which calls it equally often: from one's value to all's."""
    import ray.train
    from ray.train.collective import broadcast_from_rank_zero

    rank = ray.train.get_context().get_world_rank()
    # What lost workers have brought does not count for those in their place.
    attempt, calls = broadcast_from_rank_zero(uuid.uuid4().hex), count()
    return lambda value: ray.get(
        config["meeting"].bring.remote(f"{attempt} {next(calls)}", rank, value)
    )
