"""Train a retriever on a Ray cluster: each worker computes the gradients of its rows of a batch.

Imported only where `backend` is `ray`. Every worker runs `stages.train_retrieval.train`. The
optimiser sums the gradients of all workers (TensorFlow's MultiWorkerMirroredStrategy), so that
their weights stay equal. Checkpoints go to `ray.storage`; when a worker is lost, new workers
resume from the last one.
"""

import importlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages.common.files import read_arrays, write_arrays
from stages.common.stage import StageError
from stages.data.snapshots import SNAPSHOTS
from stages.parallel.process import mark_as_worker
from stages.parallel.ray_backend.cluster import connect, ray_params
from stages.parallel.ray_backend.training import all_gather_function, train_on_workers
from stages.retrieval.training import TrainingParams
from stages.retrieval.worker import Arrays, Fitted, State, Worker

CHECKPOINT_SECONDS = 20.0  # between checkpoints, each of which takes all workers about two
Train = Callable[..., tuple[Fitted, dict[str, Arrays]]]


def train_on_ray(
    train: Train,
    name: str,
    params: TrainingParams,
    tables: dict[str, pl.DataFrame],
    max_length: int,
    seed: int,
) -> tuple[Fitted, dict[str, Arrays]]:
    """Run `stages.train_retrieval.train` on `ray.workers` workers.

    Args:
        train: `stages.train_retrieval.train`.
        name: The retriever, a module of stages.retrieval.
        params: The retriever's parameters.
        tables: The tables of `train`.
        max_length: The most ratings of a window.
        seed: Of all randomness.

    Returns:
        The fit of the first snapshot, and the arrays by snapshot.

    Raises:
        StageError: There are more workers than rows of a batch, or the training failed.
    """
    workers = ray_params().workers
    if workers > params.batch_size:
        raise StageError(
            f"ray.workers: {workers} share batches of {params.batch_size}; set it lower"
        )
    ray = connect()
    config = {
        "train": train,
        "name": name,
        "params": params,
        "tables": {key: ray.put(table) for key, table in tables.items()},
        "max_length": max_length,
        "seed": seed,
    }
    return train_on_workers("tensorflow", train_loop, config, name, read_checkpoint)


def read_checkpoint(folder: Path) -> tuple[Fitted, dict[str, Arrays]]:
    """Return the first snapshot's fit, and the arrays by snapshot, of a finished training."""
    fitted_by_snapshot = {
        snapshot: unpack_state(read_arrays(folder / f"{snapshot}.npz")).best
        for snapshot in SNAPSHOTS
    }
    arrays = {snapshot: fitted.arrays for snapshot, fitted in fitted_by_snapshot.items()}
    return fitted_by_snapshot[SNAPSHOTS[0]], arrays


def train_loop(config: dict[str, Any]) -> None:
    """Train as one of several workers."""
    import ray

    mark_as_worker()
    config["params"].prepare_process()
    folder = tempfile.TemporaryDirectory()
    # TensorFlow requires the strategy before any other operation.
    worker = RayWorker(all_gather_function(config), Path(folder.name))
    tables = {key: ray.get(table) for key, table in config["tables"].items()}
    retriever = importlib.import_module(f"stages.retrieval.{config['name']}")
    config["train"](
        retriever, config["params"], tables, config["max_length"], config["seed"], worker=worker
    )
    folder.cleanup()


class RayWorker(Worker):
    """One of several workers that Ray Train has started."""

    def __init__(self, all_gather: Callable[[Any], list[Any]], folder: Path) -> None:
        """Join the other workers, and fetch the last checkpoint if there is one.

        Args:
            all_gather: From `all_gather_function`.
            folder: Gets one file for each snapshot that the training has reached.
        """
        import ray.train
        import tensorflow as tf

        self.all_gather, self.folder, self.saved_at = all_gather, folder, -CHECKPOINT_SECONDS
        context = ray.train.get_context()
        self.rank, self.count = context.get_world_rank(), context.get_world_size()
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as source:
                shutil.copytree(source, self.folder, dirs_exist_ok=True)

    def scope(self) -> AbstractContextManager:
        """The context in which variables are created with equal values on all workers."""
        return self.strategy.scope()

    def begin(self, snapshot: str, rng: np.random.Generator) -> None:
        """Start the training for `snapshot`, whose batches are drawn with `rng`."""
        self.file, self.rng = self.folder / f"{snapshot}.npz", rng

    def step(self, function: Callable) -> Callable:
        """Compile `function`, in which the optimiser waits for the gradients of all workers."""
        import tensorflow as tf

        return tf.function(lambda batch: self.strategy.run(function, (batch,)))

    def all_reduce_sum(self, value: float) -> float:
        """Return the sum of the values of all workers."""
        return sum(self.all_gather(value))

    def broadcast(self, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Compute on rank 0 and broadcast to all workers."""
        return self.all_gather(compute() if self.rank == 0 else None)[0]

    def restore_checkpoint(self, model: Any) -> State:
        """Return the state at the last checkpoint of this snapshot, or a new one.

        Unless the snapshot's training is finished, also restore the model, its optimiser and the
        random numbers.
        """
        if not self.file.exists():
            return State()
        arrays = read_arrays(self.file)
        state = unpack_state(arrays)
        if not state.finished:
            metadata = read_metadata(arrays)
            with self.strategy.scope():
                for name, value in strip_prefix(arrays, "weight").items():
                    model.w[name].assign(value)
                # Keras itself creates the optimiser's variables only at the first step.
                model.optimizer._create_all_weights(list(model.w.values()))
                slots = strip_prefix(arrays, "optimizer")
                model.optimizer.set_weights([slots[str(n)] for n in range(len(slots))])
                model.ops.steps.assign(metadata["steps"])
            self.rng.bit_generator.state = metadata["rng"]
        return state

    def save_checkpoint(self, model: Any, state: State) -> None:
        """Report a checkpoint if one is due, and at the end of a snapshot; rank 0 writes it.

        Raises:
            RuntimeError: The workers' weights differ.
        """
        import ray.train

        now = time.monotonic()
        norm = float(sum(np.abs(v).sum(dtype=np.float64) for v in model.arrays().values()))
        is_due = state.finished or now - self.saved_at >= CHECKPOINT_SECONDS
        first = self.broadcast(lambda: {"norm": norm, "is_due": float(is_due)})
        # With a tolerance: processors of different makes round differently.
        if not np.isclose(norm, first["norm"], rtol=1e-3, equal_nan=True):
            raise RuntimeError("the weights of the workers differ")
        if not first["is_due"]:
            return
        self.saved_at = now
        checkpoint = None
        if self.rank == 0:
            write_arrays(pack_state(state, model, self.rng), self.file)
            checkpoint = ray.train.Checkpoint.from_directory(self.folder)
        ray.train.report({"epoch": state.epoch, "snapshot": self.file.stem}, checkpoint=checkpoint)


def pack_state(state: State, model: Any, rng: np.random.Generator) -> Arrays:
    """Return all that is needed to resume a training, as arrays by name.

    A finished training has only its result. The names are `best/`, `ema/`, `weight/` and
    `optimizer/` with the name of an array, and `metadata`, a JSON text.
    """
    metadata: dict[str, Any] = {
        "epoch": state.epoch,
        "best": state.best.epoch,
        "curve": state.curve,
        "finished": state.finished,
    }
    arrays = {f"best/{k}": v for k, v in state.best.arrays.items()}
    if not state.finished:
        metadata |= {"steps": int(model.ops.steps.numpy()), "rng": rng.bit_generator.state}
        arrays |= {f"ema/{k}": v for k, v in state.ema.items()}
        arrays |= {f"weight/{k}": v for k, v in model.arrays().items()}
        arrays |= {f"optimizer/{n}": v for n, v in enumerate(model.optimizer.get_weights())}
    return arrays | {"metadata": np.array(json.dumps(metadata))}


def unpack_state(arrays: Arrays) -> State:
    """Return the state that `pack_state` packed."""
    metadata = read_metadata(arrays)
    curve = metadata["curve"]
    best = Fitted(strip_prefix(arrays, "best"), metadata["best"], curve)
    return State(metadata["epoch"], strip_prefix(arrays, "ema"), best, curve, metadata["finished"])


def strip_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays named `prefix`/..., under the rest of their names."""
    return {
        k.removeprefix(f"{prefix}/"): v for k, v in arrays.items() if k.startswith(f"{prefix}/")
    }


def read_metadata(arrays: Arrays) -> dict[str, Any]:
    """Return the metadata that `pack_state` wrote as JSON."""
    return json.loads(str(arrays["metadata"]))
