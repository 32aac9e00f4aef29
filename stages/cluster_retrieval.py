"""Train a retriever on a Ray cluster: every worker takes its rows of each batch.

Imported only where `engine` is `ray`. `stages.train_retrieval.train` is what each worker runs; the
optimiser adds up the gradients of all (TensorFlow's MultiWorkerMirroredStrategy), so that their
weights stay equal. Now and then all that the training needs is kept in `ray.storage`; where a
worker is lost, new ones go on from there.
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

from stages import engine
from stages.cluster import connect, ray_params
from stages.cluster_training import exchange_of, train_on_workers
from stages.common.files import read_arrays, write_arrays
from stages.common.stage import StageError
from stages.folds import FOLDS
from stages.retrieval.training import TrainingParams
from stages.retrieval.worker import Arrays, Fitted, State, Worker

CHECKPOINT_SECONDS = 20.0  # of training; to keep it takes all workers about two
Train = Callable[..., tuple[Fitted, dict[str, Arrays]]]


def train_on_ray(
    train: Train,
    name: str,
    params: TrainingParams,
    tables: dict[str, pl.DataFrame],
    max_length: int,
    seed: int,
) -> tuple[Fitted, dict[str, Arrays]]:
    """`train`, that of `stages.train_retrieval`, of the retriever `name` by all `ray.workers`."""
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
    return train_on_workers("tensorflow", loop, config, name, read_fits)


def read_fits(folder: Path) -> tuple[Fitted, dict[str, Arrays]]:
    """The first fit, and the arrays by fold, from the last checkpoint of a training."""
    fits = {fold: unpack(read_arrays(folder / f"{fold}.npz")).best for fold in FOLDS}
    return fits[FOLDS[0]], {fold: fitted.arrays for fold, fitted in fits.items()}


def loop(config: dict[str, Any]) -> None:
    """What every worker does."""
    import ray

    engine.be_worker()
    folder = tempfile.TemporaryDirectory()
    # Before TensorFlow does anything else.
    worker = RayWorker(exchange_of(config), Path(folder.name))
    tables = {key: ray.get(table) for key, table in config["tables"].items()}
    variant = importlib.import_module(f"stages.retrieval.{config['name']}")
    given = config["params"], tables, config["max_length"], config["seed"]
    config["train"](variant, *given, worker=worker)
    folder.cleanup()


class RayWorker(Worker):
    """One of several workers that Ray Train has started.

    `exchange` is that of `exchange_of`; `folder` gets a file for each fold so far.
    """

    def __init__(self, exchange: Callable[[Any], list[Any]], folder: Path) -> None:
        import ray.train
        import tensorflow as tf

        self.exchange, self.folder, self.kept = exchange, folder, -CHECKPOINT_SECONDS
        context = ray.train.get_context()
        self.rank, self.count = context.get_world_rank(), context.get_world_size()
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as kept:
                shutil.copytree(kept, self.folder, dirs_exist_ok=True)

    def scope(self) -> AbstractContextManager:
        """Where variables are made equal on all workers."""
        return self.strategy.scope()

    def begin(self, fold: str, rng: np.random.Generator) -> None:
        """Begin the training for `fold`, whose batches are drawn with `rng`."""
        self.file, self.rng = self.folder / f"{fold}.npz", rng

    def step(self, function: Callable) -> Callable:
        """`function`, compiled, in which the optimiser waits for all workers' gradients."""
        import tensorflow as tf

        return tf.function(lambda batch: self.strategy.run(function, (batch,)))

    def total(self, value: float) -> float:
        """The sum of what all workers give."""
        return sum(self.exchange(value))

    def agree(self, make: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What `make` gives to the first worker, for all."""
        return self.exchange(make() if self.rank == 0 else None)[0]

    def restore(self, model: Any) -> State:
        """Where this fold's training was at the last checkpoint."""
        if not self.file.exists():
            return State()
        kept = read_arrays(self.file)
        state = unpack(kept)
        if not state.ended:
            figures = told(kept)
            with self.strategy.scope():
                for name, value in part(kept, "weight").items():
                    model.w[name].assign(value)
                # Keras makes the optimiser's variables at its first step only.
                model.optimizer._create_all_weights(list(model.w.values()))
                slots = part(kept, "optimizer")
                model.optimizer.set_weights([slots[str(n)] for n in range(len(slots))])
                model.ops.steps.assign(figures["steps"])
            self.rng.bit_generator.state = figures["rng"]
        return state

    def keep(self, model: Any, state: State) -> None:
        """Report this epoch if it is time, or the fold's last; the first worker's file is kept.

        Raises:
            RuntimeError: The workers' weights have come apart.
        """
        import ray.train

        now = time.monotonic()
        size = float(sum(np.abs(v).sum(dtype=np.float64) for v in model.arrays().values()))
        due = state.ended or now - self.kept >= CHECKPOINT_SECONDS
        first = self.agree(lambda: {"size": size, "due": float(due)})
        # Not to the last bit: processors of another make round in another way.
        if not np.isclose(size, first["size"], rtol=1e-3, equal_nan=True):
            raise RuntimeError("the workers' weights have come apart")
        if not first["due"]:
            return
        self.kept = now
        checkpoint = None
        if self.rank == 0:
            write_arrays(pack(state, model, self.rng), self.file)
            checkpoint = ray.train.Checkpoint.from_directory(self.folder)
        ray.train.report({"epoch": state.epoch, "fold": self.file.stem}, checkpoint=checkpoint)


def pack(state: State, model: Any, rng: np.random.Generator) -> Arrays:
    """Arrays by name that tell all of an unfinished training, or the result of one that ended."""
    figures: dict[str, Any] = {
        "epoch": state.epoch,
        "best": state.best.epoch,
        "curve": state.curve,
        "ended": state.ended,
    }
    arrays = {f"best/{k}": v for k, v in state.best.arrays.items()}
    if not state.ended:
        figures |= {"steps": int(model.ops.steps.numpy()), "rng": rng.bit_generator.state}
        arrays |= {f"average/{k}": v for k, v in state.average.items()}
        arrays |= {f"weight/{k}": v for k, v in model.arrays().items()}
        arrays |= {f"optimizer/{n}": v for n, v in enumerate(model.optimizer.get_weights())}
    return arrays | {"told": np.array(json.dumps(figures))}


def unpack(arrays: Arrays) -> State:
    """The state that `pack` got."""
    figures = told(arrays)
    curve = figures["curve"]
    best = Fitted(part(arrays, "best"), figures["best"], curve)
    return State(figures["epoch"], part(arrays, "average"), best, curve, figures["ended"])


def part(arrays: Arrays, name: str) -> Arrays:
    """The arrays below `name`."""
    return {k.removeprefix(f"{name}/"): v for k, v in arrays.items() if k.startswith(f"{name}/")}


def told(arrays: Arrays) -> dict[str, Any]:
    """What `pack` wrote as JSON."""
    return json.loads(str(arrays["told"]))
