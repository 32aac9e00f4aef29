"""Who trains a model: one worker by itself, or several that each take a part of every batch."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

Arrays = dict[str, np.ndarray]
# Of a batch's arrays the first two have a row per user or window; what follows is for all rows.
BY_ROW = 2


class Fitted(NamedTuple):
    """The averaged weights of the best epoch (from 1), and one row of figures per epoch."""

    arrays: Arrays
    epoch: int
    curve: list[dict[str, Any]]


@dataclasses.dataclass
class State:
    """All that the loop over epochs changes, beside the model and the random numbers."""

    epoch: int = 0
    average: Arrays = dataclasses.field(default_factory=dict)
    best: Fitted = dataclasses.field(default_factory=lambda: Fitted({}, 0, []))
    curve: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    ended: bool = False


class Worker:
    """The only worker of a training; `stages.cluster_retrieval` has one of many.

    `rank` counts from 0, `count` are all. Their models are equal after every step.
    """

    rank, count = 0, 1

    def scope(self) -> AbstractContextManager:
        """Where a model and its optimiser are made."""
        return nullcontext()

    def begin(self, fold: str, rng: np.random.Generator) -> None:
        """Begin the training for `fold`, whose batches are drawn with `rng`."""

    def step(self, function: Callable) -> Callable:
        """`function`, a model's training step, compiled."""
        return tf.function(function)

    def share(self, batch: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """The rows of a batch that are this worker's."""
        if self.count == 1:
            return batch
        return (*(x[self.rank :: self.count] for x in batch[:BY_ROW]), *batch[BY_ROW:])

    def total(self, value: float) -> float:
        """The sum of what all workers give."""
        return value

    def agree(self, make: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What `make` gives to the first worker, for all."""
        return make()

    def restore(self, model: Any) -> State:
        """Where this fold's training was when it was interrupted; a start otherwise."""
        return State()

    def keep(self, model: Any, state: State) -> None:
        """Keep what `restore` needs."""
