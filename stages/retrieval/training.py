"""What all retrievers share: their data, the loop over epochs, early stopping."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple, Self

import numpy as np
import polars as pl
import tensorflow as tf
import tensorflow_recommenders as tfrs
from tqdm import tqdm

from stages.common.params import Range
from stages.retrieval.ops import TensorFlowOps
from stages.retrieval.worker import Arrays, Fitted, Worker

# Parts of a batch that a compiled model works on side by side: XLA alone keeps little more than one
# core busy. Fixed, so that figures do not depend on the machine; several workers share them.
PARTS = 2
ALONE = Worker()
# Weights with one row per user or movie, and the ids of those rows.
OWN_ROWS = {"user": "user_ids", "movie": "movie_ids", "bias": "movie_ids"}


@dataclasses.dataclass(frozen=True)
class TrainingParams:
    """What every retriever's block in params.yaml has.

    Training ends after `epochs`, or once `patience` epochs brought no better ndcg@10 of the
    early targets. What is validated and kept is a moving average of the weights after each epoch,
    in which the past has the share `average`. The model of a later fold starts from
    that of the fold before and trains for `warm_start` times as many epochs as were best; with
    `warm_start` 0 it is trained from nothing, for as many epochs as were best.
    """

    dimension: Annotated[int, Range(1, 4096)]
    batch_size: Annotated[int, Range(1, 1_000_000)]
    epochs: Annotated[int, Range(1, 10_000)]
    patience: Annotated[int, Range(1, 10_000)]
    learning_rate: Annotated[float, Range(1e-8, 10)]
    average: Annotated[float, Range(0, 0.999)]
    warm_start: Annotated[float, Range(0, 10)]

    def sized(self, likings: int, users: int) -> Self:
        """The params for data of so many likings and users; a retriever says how they differ."""
        return self


class TrainingData(NamedTuple):
    """Likings sorted by user and time; users and movies are numbered by their sorted ids."""

    user_ids: np.ndarray  # [users]
    movie_ids: np.ndarray  # [movies]; only movies that somebody liked
    users: np.ndarray  # [likings] int32
    movies: np.ndarray  # [likings] int32
    times: np.ndarray  # [likings] int64 seconds
    max_length: int  # of a window of a user's likings
    catalogue_ids: np.ndarray  # [catalogue]
    catalogue_genres: np.ndarray  # [catalogue, genres] float32; a row sums to 1, or to 0


def training_data(likings: pl.DataFrame, genres: pl.DataFrame, max_length: int) -> TrainingData:
    """Number the users and movies of TRAIN_HISTORIES; `genres` is the genre table."""
    user_ids, users = np.unique(likings["user_id"].to_numpy(), return_inverse=True)
    movie_ids, movies = np.unique(likings["movie_id"].to_numpy(), return_inverse=True)
    flags = genres.drop("movie_id").to_numpy().astype(np.float32)
    return TrainingData(
        user_ids,
        movie_ids,
        users.astype(np.int32),
        movies.astype(np.int32),
        likings["timestamp"].to_numpy(),
        max_length,
        genres["movie_id"].to_numpy(),
        flags / np.maximum(flags.sum(axis=1, keepdims=True), 1),
    )


class Retriever(tfrs.models.Model):
    """Trainable arrays by name, and fixed ones that serving needs beside them.

    `compiled`: whether XLA compiles the training step; it pays where many small operations meet.
    A subclass has `batch_loss`, the mean loss of a batch, which draws random numbers from `ops`.
    """

    compiled = False
    worker = ALONE

    def __init__(self, trainable: Arrays, fixed: Arrays, ops: TensorFlowOps) -> None:
        super().__init__()
        # Sums in a fixed order: equal seeds give equal weights. Needs a seed, which nothing uses.
        tf.random.set_seed(0)
        tf.config.experimental.enable_op_determinism()
        self.w = {name: tf.Variable(value, name=name) for name, value in trainable.items()}
        self.fixed, self.ops = fixed, ops
        self.constants = {k: tf.constant(fixed[k]) for k in ("movie_genres",) if k in fixed}

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """The mean loss of a batch under the weights and constants `w`."""
        raise NotImplementedError

    def compute_loss(self, inputs: tuple[tf.Tensor, ...], training: bool = False) -> tf.Tensor:
        """The mean loss of a batch under the weights as they are; what TFRS's own loops ask for."""
        return self.batch_loss({**self.w, **self.constants}, inputs)

    def train_step(self, inputs: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """One step of the optimiser on one batch, or on this worker's share of it.

        The loss is this worker's part of the mean; so are the gradients until the optimiser
        has added up those of all workers.
        """
        step = self.ops.next_step()
        values = {name: variable.read_value() for name, variable in self.w.items()}
        rank, workers = self.worker.rank, self.worker.count
        slopes_of = self._compiled if self.compiled else self._gradients
        count = max(1, PARTS // workers) if self.compiled else 1
        parts = [tuple(x[n::count] for x in inputs) for n in range(count)]
        # Numbered over all workers, so that no two parts draw the same random numbers.
        numbers = [tf.constant(rank + n * workers) for n in range(count)]
        made = [slopes_of(values, part, step, n) for part, n in zip(parts, numbers)]
        whole = count * workers
        means = {k: tf.add_n([slopes[k] for _, slopes in made]) / whole for k in self.w}
        self.optimizer.apply_gradients((means[name], self.w[name]) for name in self.w)
        return {"loss": tf.add_n([loss for loss, _ in made]) / whole}

    def _gradients(
        self,
        w: dict[str, tf.Tensor],
        inputs: tuple[tf.Tensor, ...],
        step: tf.Tensor,
        part: tf.Tensor,
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss of part number `part` of a batch, and its gradients as dense tensors.

        The weights are arguments: calls that read variables would wait for each other. Dense:
        one fused pass over a large table is faster than many over its rows.
        """
        self.ops.begin(step, part)
        with tf.GradientTape() as tape:
            tape.watch(w)
            loss = self.batch_loss({**w, **self.constants}, inputs)
        slopes = tape.gradient(loss, w)
        return loss, {name: tf.convert_to_tensor(slope) for name, slope in slopes.items()}

    _compiled = tf.function(_gradients, jit_compile=True)

    def arrays(self) -> Arrays:
        """The weights as they are now."""
        return {name: variable.numpy() for name, variable in self.w.items()}

    def start_from(self, arrays: Arrays) -> None:
        """Take over what a model of fewer users and movies has learned."""
        weights = self.arrays()
        for name, learned in arrays.items():
            if name in OWN_ROWS:
                ids = OWN_ROWS[name]
                weights[name][np.searchsorted(self.fixed[ids], arrays[ids])] = learned
            elif name in weights:
                weights[name] = learned
        for name, variable in self.w.items():
            variable.assign(weights[name])


def genre_arrays(data: TrainingData, dimension: int, rng: np.random.Generator):
    """What `stages.towers.movie_vectors` needs of genres: trainable arrays, and fixed ones."""
    rows = np.searchsorted(data.catalogue_ids, data.movie_ids)
    fixed = {
        "catalogue_ids": data.catalogue_ids,
        "catalogue_genres": data.catalogue_genres,
        "movie_genres": data.catalogue_genres[rows],
    }
    genres = data.catalogue_genres.shape[1]
    return {"genre": normal(rng, genres, dimension, scale=dimension**-0.5)}, fixed


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for random numbers that TensorFlow makes."""
    return int(rng.integers(2**30))


def normal(rng: np.random.Generator, *shape: int, scale: float) -> np.ndarray:
    """Random float32 weights of standard deviation `scale`."""
    return rng.normal(0, scale, shape).astype(np.float32)


def fit(
    model: Retriever,
    batches: Callable[[], Iterable[tuple[np.ndarray, ...]]],
    params: TrainingParams,
    epochs: int,
    validate: Callable[[Arrays], dict[str, float]] | None,
    worker: Worker = ALONE,
) -> Fitted:
    """Train for up to `epochs`; with `validate`, keep the best epoch, else the last.

    Args:
        model: What to train.
        batches: Gives one epoch's batches, all of one shape.
        params: Learning rate, averaging and patience.
        epochs: The most epochs.
        validate: Arrays to figures, among them `ndcg@10`; the higher the better.
        worker: Who trains.
    """
    with worker.scope():
        # Keras's later Adam makes a dozen passes over all weights, this one a single one.
        optimizer = tf.keras.optimizers.legacy.Adam(params.learning_rate)
        model.compile(optimizer=optimizer)
    model.worker = worker
    # Keras's own loop makes the parts of a batch wait for each other.
    step = worker.step(model.train_step)
    now = worker.restore(model)
    progress = tqdm(range(now.epoch + 1, epochs + 1), desc="epochs", disable=None, leave=False)
    for epoch in () if now.ended else progress:
        losses = [step(worker.share(batch))["loss"] for batch in batches()]
        # As in Adam, the start at zero is divided out.
        share = params.average * (1 - params.average ** (epoch - 1)) / (1 - params.average**epoch)
        now.average = {
            k: share * now.average[k] + (1 - share) * v if now.average else v
            for k, v in model.arrays().items()
        }
        arrays = {k: v.astype(np.float32) for k, v in now.average.items()} | model.fixed
        row = {"epoch": epoch, "loss": worker.total(float(np.mean(losses)))}
        now.epoch, now.ended = epoch, epoch == epochs
        if validate is None:
            now.best = Fitted(arrays, epoch, [])
        else:
            row |= worker.agree(lambda arrays=arrays: validate(arrays))
            now.curve.append(row)
            progress.set_postfix({k: f"{v:.4f}" for k, v in row.items() if k != "epoch"})
            best = now.best.epoch
            if not best or row["ndcg@10"] > now.curve[best - 1]["ndcg@10"]:
                now.best = Fitted(arrays, epoch, now.curve)
            elif epoch - best >= params.patience:
                now.ended = True
        worker.keep(model, now)
        if now.ended:
            break
    return now.best
