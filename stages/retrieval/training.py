"""The base class of all retrievers, and the loop over epochs with early stopping."""

from collections.abc import Callable, Iterable
from typing import Self

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from pydantic import Field

from stages.cli.progress import progress
from stages.common.params import Section
from stages.retrieval.ops import TensorFlowOps, prepare_gpus
from stages.retrieval.worker import Arrays, Fitted, State, Worker

# Parts of a batch that a model with XLA computes in parallel: XLA alone keeps little more than one
# core busy. A constant, so that the weights do not depend on the machine; workers share the parts.
PARTS = 2
SINGLE_WORKER = Worker()
# Weights with one row per user or movie, and the ids of those rows.
ROW_IDS = {"user": "user_ids", "movie": "movie_ids", "bias": "movie_ids"}


class TrainingParams(Section):
    """The keys that the block of every retriever has. Subclasses add those of their model."""

    tower: str
    """Module of stages/retrieval that the retriever builds on: two_tower, transformer, or another.

    dvc.yaml makes it a dependency, so that an edit retrains the retrievers that use it.
    """

    dimension: int = Field(ge=1, le=4096)
    """Length of a movie's and a user's vector."""

    batch_size: int = Field(ge=1, le=1_000_000)
    """Users (two_tower) or rows of windows (transformer) of a training step."""

    epochs: int = Field(ge=1, le=10_000)
    """Maximum number of epochs."""

    patience: int = Field(ge=1, le=10_000)
    """Epochs without a better ndcg@10 of the inner_val targets after which training ends."""

    learning_rate: float = Field(ge=1e-8, le=10)
    """Adam's learning rate."""

    ema_decay: float = Field(ge=0, le=0.999)
    """Decay of the moving average of the weights over epochs, which is validated and kept."""

    finetune_epochs_ratio: float = Field(ge=0, le=10)
    """Epochs of training for a later snapshot, as a ratio of the best epoch of the first.

    The model starts from the weights of the previous snapshot. With 0 it is trained from scratch,
    for as many epochs as the best of the first.
    """

    low_weight: float = Field(ge=0, le=1)
    """Weight of a low rating, which is learned like a positive; a positive has 1. With 0 none is.

    A low-rated movie is at least one that its user chose to watch.
    """

    def scale_to(self, positives: int, users: int) -> Self:
        """Return the params for data of this size; subclasses define how they scale."""
        return self

    def prepare_process(self) -> str:
        """Set what TensorFlow reads before it computes; return a note on it for the user."""
        return prepare_gpus()


class Retriever(tfrs.models.Model):
    """Trained weights by name, and constant arrays that serving needs beside them.

    A subclass implements `batch_loss`, which draws random numbers from `ops`. With `use_xla`, XLA
    compiles the training step, which pays for models of many small operations.
    """

    use_xla = False
    worker = SINGLE_WORKER

    def __init__(self, weights: Arrays, constants: Arrays, ops: TensorFlowOps) -> None:
        super().__init__()
        # Sums in a fixed order: equal seeds give equal weights. It needs a seed, which is not used.
        tf.random.set_seed(0)
        tf.config.experimental.enable_op_determinism()
        self.w = {name: tf.Variable(value, name=name) for name, value in weights.items()}
        self.constants, self.ops = constants, ops
        names = [name for name in ("movie_genres",) if name in constants]
        self.constant_tensors = {name: tf.constant(constants[name]) for name in names}

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Return the mean loss of a batch under the weights and constants `w`."""
        raise NotImplementedError

    def compute_loss(self, inputs: tuple[tf.Tensor, ...], training: bool = False) -> tf.Tensor:
        """Return the mean loss of a batch under the current weights, as TFRS's own loops ask."""
        return self.batch_loss({**self.w, **self.constant_tensors}, inputs)

    def train_step(self, inputs: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Run one step of the optimiser on one batch, or on this worker's shard of it.

        A model with XLA splits the batch into `PARTS`, whose gradients are averaged. Loss and
        gradients are scaled by the number of parts of all workers, so that their sum over all
        workers is the mean; the optimiser sums the gradients.
        """
        step = self.ops.next_step()
        weights = {name: variable.read_value() for name, variable in self.w.items()}
        rank, workers = self.worker.rank, self.worker.count
        compute = self._gradients
        if self.use_xla:
            compute = self._xla_gradients if self.ops.in_xla else self._graph_gradients
        count = max(1, PARTS // workers) if self.use_xla else 1
        losses, gradients = [], []
        for n in range(count):
            rows = tuple(x[n::count] for x in inputs)
            # Numbered over all workers, so that no two parts draw the same random numbers.
            part = tf.constant(rank + n * workers)
            loss, gradient = compute(weights, rows, step, part)
            losses.append(loss)
            gradients.append(gradient)
        parts = count * workers
        means = {name: tf.add_n([g[name] for g in gradients]) / parts for name in self.w}
        self.optimizer.apply_gradients((means[name], self.w[name]) for name in self.w)
        return {"loss": tf.add_n(losses) / parts}

    def _gradients(
        self,
        w: dict[str, tf.Tensor],
        inputs: tuple[tf.Tensor, ...],
        step: tf.Tensor,
        part: tf.Tensor,
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Return the loss of part number `part` of a batch, and its gradients as dense tensors.

        The weights are arguments, because calls that read variables would wait for each other.
        The gradients are dense, because one fused pass over a large table is faster than many
        over its rows.
        """
        self.ops.begin(step, part)
        with tf.GradientTape() as tape:
            tape.watch(w)
            loss = self.batch_loss({**w, **self.constant_tensors}, inputs)
        gradients = tape.gradient(loss, w)
        return loss, {name: tf.convert_to_tensor(g) for name, g in gradients.items()}

    _xla_gradients = tf.function(_gradients, jit_compile=True)
    _graph_gradients = tf.function(_gradients)

    def arrays(self) -> Arrays:
        """Return the current weights."""
        return {name: variable.numpy() for name, variable in self.w.items()}

    def start_from(self, arrays: Arrays) -> None:
        """Start from the arrays of a model whose users and movies are a subset of this one's."""
        weights = self.arrays()
        for name, values in arrays.items():
            if name in ROW_IDS:
                ids = ROW_IDS[name]
                weights[name][np.searchsorted(self.constants[ids], arrays[ids])] = values
            elif name in weights:
                weights[name] = values
        for name, variable in self.w.items():
            variable.assign(weights[name])


def draw_seed(rng: np.random.Generator) -> int:
    """Draw a seed for TensorFlow's random numbers."""
    return int(rng.integers(2**30))


def updated_ema(ema: Arrays, weights: Arrays, decay: float, epoch: int) -> Arrays:
    """Return the moving average of the weights after `epoch` (from 1).

    It has no bias towards its initial value of zero, as in Adam (Kingma and Ba 2015). For example,
    with `decay` 0.5, the average after 3 epochs weighs their weights as 1 : 2 : 4.
    """
    share = decay * (1 - decay ** (epoch - 1)) / (1 - decay**epoch)
    return {k: share * ema[k] + (1 - share) * v if ema else v for k, v in weights.items()}


def fit(
    model: Retriever,
    batches: Callable[[], Iterable[tuple[np.ndarray, ...]]],
    params: TrainingParams,
    epochs: int,
    validate: Callable[[Arrays], dict[str, float]] | None,
    worker: Worker = SINGLE_WORKER,
    name: str = "epochs",
) -> Fitted:
    """Train for up to `epochs`; with `validate`, keep the best epoch, else the last.

    Args:
        model: The model to train.
        batches: Returns one epoch's batches, all of one shape.
        params: Learning rate, averaging and patience.
        epochs: Maximum number of epochs.
        validate: Returns the metrics of arrays, among them `ndcg@10`; higher is better.
        worker: The worker that this process is.
        name: What the epochs are called in the display of the progress.
    """
    with worker.scope():
        # Keras's new Adam passes over all weights a dozen times a step, the legacy one once.
        optimizer = tf.keras.optimizers.legacy.Adam(params.learning_rate)
        model.compile(optimizer=optimizer)
    model.worker = worker
    # Not Keras's own loop, in which the parts of a batch wait for each other.
    step = worker.step(model.train_step)
    state = worker.restore_checkpoint(model)
    is_first = worker.rank == 0
    with progress(name, epochs, state.epoch, may_end_early=bool(validate), enable=is_first) as show:
        while not state.finished:
            state.epoch += 1
            losses = [step(worker.shard(batch))["loss"] for batch in batches()]
            row = {"epoch": state.epoch, "loss": worker.all_reduce_sum(float(np.mean(losses)))}
            state.ema = updated_ema(state.ema, model.arrays(), params.ema_decay, state.epoch)
            arrays = {k: v.astype(np.float32) for k, v in state.ema.items()} | model.constants
            if validate is None:
                state.best = Fitted(arrays, state.epoch, [])
            else:
                row |= worker.broadcast(lambda arrays=arrays: validate(arrays))
                keep_best(state, arrays, row)
            is_last = state.epoch - state.best.epoch >= params.patience
            state.finished = state.epoch == epochs or is_last
            worker.save_checkpoint(model, state)
            show(note=", ".join(f"{k} {v:.4f}" for k, v in row.items() if k != "epoch"))
    return state.best


def keep_best(state: State, arrays: Arrays, row: dict[str, float]) -> None:
    """Append the metrics of an epoch to the curve; keep its arrays if its ndcg@10 is the best."""
    state.curve.append(row)
    best = state.best.epoch
    if not best or row["ndcg@10"] > state.curve[best - 1]["ndcg@10"]:
        state.best = Fitted(arrays, state.epoch, state.curve)
