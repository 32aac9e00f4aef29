"""Workers: one that trains a model alone, or several that share every batch."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

Arrays = dict[str, np.ndarray]
# Up to two arrays of a batch have rows of users or of windows; the others belong to all rows.
ROW_ARRAYS = 2


class Fitted(NamedTuple):
    """The averaged weights of the best epoch (from 1), and one row of metrics per epoch."""

    arrays: Arrays
    epoch: int
    curve: list[dict[str, Any]]


@dataclasses.dataclass
class State:
    """The state of the loop over epochs, apart from the model and the random numbers."""

    epoch: int = 0
    ema: Arrays = dataclasses.field(default_factory=dict)
    best: Fitted = dataclasses.field(default_factory=lambda: Fitted({}, 0, []))
    curve: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    finished: bool = False


class Worker:
    """The only worker of a training; `RayWorker` in stages.parallel is one of several.

    `rank` is from 0 to `count` - 1. The models of all workers are equal after every step.
    """

    rank, count = 0, 1

    def scope(self) -> AbstractContextManager:
        """Return the context in which a model and its optimiser are created."""
        return nullcontext()

    def begin(self, snapshot: str, rng: np.random.Generator) -> None:
        """Start the training for `snapshot`, whose batches are drawn with `rng`."""

    def step(self, function: Callable) -> Callable:
        """Compile `function`, a model's training step."""
        return tf.function(function)

    def shard(self, batch: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Return this worker's rows of a batch."""
        if self.count == 1:
            return batch
        return (*(x[self.rank :: self.count] for x in batch[:ROW_ARRAYS]), *batch[ROW_ARRAYS:])

    def all_reduce_sum(self, value: float) -> float:
        """Return the sum of the values of all workers."""
        return value

    def broadcast(self, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Compute on rank 0 and broadcast to all workers."""
        return compute()

    def restore_checkpoint(self, model: Any) -> State:
        """Return the state at the last checkpoint of this snapshot, or a new one."""
        return State()

    def save_checkpoint(self, model: Any, state: State) -> None:
        """Save what `restore_checkpoint` needs."""
