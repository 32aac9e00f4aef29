"""A causal transformer over a user's ratings, trained at every position of the sequence."""

import os
from typing import Literal, Self

import numpy as np
import tensorflow as tf
from pydantic import Field

from stages.models import towers
from stages.models.rating_matrices import TIME_GAPS
from stages.retrieval.data import TrainingData
from stages.retrieval.initial_weights import genre_arrays, normal
from stages.retrieval.ops import BFloat16Ops, TensorFlowOps, prepare_bfloat16
from stages.retrieval.portable import logsumexp
from stages.retrieval.products import pad_rows
from stages.retrieval.training import Retriever, TrainingParams, draw_seed

# With more data, less dropout is needed.
FULL_DROPOUT_POSITIVES = 100_000
# With this much data, a tower of twice the width pays; it learns at a lower rate.
WIDE_POSITIVES = 500_000
WIDTH_FACTOR, RATE_FACTOR = 2, 0.75
TARGET_DECAY = 0.5  # weight of a next movie, relative to the one before it
NO_MOVIE = -1e9  # the logit of a column that is no negative


class TransformerParams(TrainingParams):
    """Size of the transformer, its inputs, and its regularization.

    `dropout`, `dimension` and `learning_rate` are the values for little data; `scale_to` scales
    them.
    """

    num_blocks: int = Field(ge=1, le=64)
    """Blocks of attention and feed-forward."""

    num_heads: int = Field(ge=1, le=64)
    """Attention heads, which share `dimension`."""

    dropout: float = Field(ge=0, le=0.95)
    """Dropout of inputs, attention weights and the blocks' outputs."""

    item_mask_prob: float = Field(ge=0, le=0.95)
    """Share of the movies of a window that are masked in training.

    The noise keeps the tower from memorizing single histories.
    """

    gated_residuals: bool
    """Whether a learned gate scales what each block adds."""

    use_distances: bool
    """Whether attention has a learned bias for each distance between two movies of a window."""

    use_time_gaps: bool
    """Whether the time since the previous movie is an input."""

    use_genres: bool
    """Whether a movie's vector has a part that comes from its genres."""

    targets: int = Field(ge=1, le=100)
    """Next movies that each position learns to predict; each counts half of the one before.

    Users often rate several movies at once, so that their order is a matter of chance.
    """

    num_sampled: int = Field(ge=1, le=1_000_000)
    """Movies sampled for a batch's softmax; a catalogue that has no more is used in full."""

    precision: Literal["float32", "bfloat16"]
    """Number type of the matrix products in training.

    bfloat16 is faster on processors with instructions for it, but each processor computes other
    bytes.
    """

    def scale_to(self, positives: int, users: int) -> Self:
        """Scale the parameters to the number of positives; the number of users has no effect.

        Above `FULL_DROPOUT_POSITIVES`, `dropout` falls with their square root. From
        `WIDE_POSITIVES` on, `dimension` is `WIDTH_FACTOR` times and `learning_rate` `RATE_FACTOR`
        times as large.
        """
        is_wide = positives >= WIDE_POSITIVES
        width, rate = (WIDTH_FACTOR, RATE_FACTOR) if is_wide else (1, 1.0)
        return self.model_copy(
            update={
                "dropout": self.dropout * min(1.0, (FULL_DROPOUT_POSITIVES / positives) ** 0.5),
                "dimension": self.dimension * width,
                "learning_rate": self.learning_rate * rate,
            }
        )

    def prepare_process(self) -> str:
        """Set what TensorFlow reads before it computes; return a note on it for the user."""
        note = super().prepare_process()
        return note + (prepare_bfloat16(os.environ) if self.precision == "bfloat16" else "")


class Transformer(Retriever):
    """Softmax of the next movies at every position of a window of positives.

    TFRS's retrieval task pairs each query with one candidate of the batch. Here all positions
    share one softmax over the catalogue, or over a sample of it, which is cheaper.
    """

    use_xla = True

    def __init__(
        self, data: TrainingData, params: TransformerParams, rng: np.random.Generator
    ) -> None:
        """Draw the initial weights."""
        d, movies = params.dimension, len(data.movie_ids)
        scale, output_scale = d**-0.5, (2 * params.num_blocks * d) ** -0.5
        w = {
            "movie": normal(rng, movies, d, scale=scale),
            "bias": np.zeros(movies, dtype=np.float32),
            "position": normal(rng, data.max_length, d, scale=0.02),
        }
        constants = {
            "movie_ids": data.movie_ids,
            "num_heads": np.array(params.num_heads),
            "num_blocks": np.array(params.num_blocks),
        }
        if params.use_time_gaps:
            w["gap"] = normal(rng, TIME_GAPS, d, scale=0.02)
        if params.low_weight and len(data.low_user_index):
            w["low"] = normal(rng, d, scale=0.02)
        if params.use_genres:
            genre_weights, genre_constants = genre_arrays(data, d, rng)
            w, constants = w | genre_weights, constants | genre_constants
        norms = ["final"]
        for b in range(params.num_blocks):
            norms += [f"block{b}_attention", f"block{b}_feed"]
            for part in ("query", "key", "value"):
                w[f"block{b}_{part}"] = normal(rng, d, d, scale=scale)
            w[f"block{b}_output"] = normal(rng, d, d, scale=output_scale)
            w[f"block{b}_gate"] = normal(rng, d, 2 * d, scale=scale)
            w[f"block{b}_up"] = normal(rng, d, 2 * d, scale=scale)
            w[f"block{b}_down"] = normal(rng, 2 * d, d, scale=output_scale * 2**-0.5)
            if params.use_distances:
                shape = data.max_length, params.num_heads
                w[f"block{b}_distance"] = np.zeros(shape, dtype=np.float32)
            for part in ("attention_gate", "feed_gate") if params.gated_residuals else ():
                w[f"block{b}_{part}"] = normal(rng, d, d, scale=scale)
        for norm in norms:
            w[f"{norm}_gain"] = np.ones(d, dtype=np.float32)
            w[f"{norm}_bias"] = np.zeros(d, dtype=np.float32)
        ops = BFloat16Ops if params.precision == "bfloat16" else TensorFlowOps
        super().__init__(w, constants, ops(params.dropout, draw_seed(rng)))
        self.params = params

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Return the weighted mean of the losses of all positions' next movies.

        The weight of a next movie falls with its place; that of a low rating is smaller.

        Args:
            w: Weights and constants.
            inputs: From `batches`.
        """
        channels = tf.unstack(inputs[0], axis=1)
        movies, gaps, is_low, next_movies, next_is_low, positions, window = channels
        p = self.params
        is_masked = self.ops.uniform(tf.shape(movies)) < p.item_mask_prob
        states = towers.encode(
            w,
            tf.where(is_masked, -1, movies),
            gaps,
            is_low,
            p.num_heads,
            p.num_blocks,
            self.ops,
            packing=towers.Packing(positions, window),
        )
        labels = next_values(next_movies, window, p.targets)
        label_is_low = next_values(next_is_low, window, p.targets) > 0
        losses = self.softmax_losses(
            tf.reshape(states, (-1, p.dimension)),
            labels,
            towers.movie_vectors(w, self.ops),
            w["bias"],
        )
        decay = tf.constant(TARGET_DECAY ** np.arange(p.targets), tf.float32)
        weights = tf.where(labels >= 0, tf.where(label_is_low, p.low_weight * decay, decay), 0)
        return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))

    def softmax_losses(
        self, states: tf.Tensor, labels: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """Return the [n, targets] softmax losses, over all movies or over a sample.

        Args:
            states: [n, d] users' vectors.
            labels: [n, targets] indices of the next movies; the loss of a -1 means nothing.
            vectors: [movies, d] movies' vectors.
            bias: [movies] movies' biases.
        """
        positions, num_movies = states.shape[0], vectors.shape[0]
        num_sampled = self.params.num_sampled
        states, labels = pad_rows(states), pad_rows(labels, -1)
        columns = tf.maximum(labels, 0)
        label_products = tf.reduce_sum(states[:, None] * tf.gather(vectors, columns), 2)
        label_logits = label_products + tf.gather(bias, columns)
        if num_movies <= num_sampled:
            logits = self.ops.inner_products(states, pad_rows(vectors)) + pad_rows(bias, NO_MOVIE)
            return (logsumexp(logits) - label_logits)[:positions]
        sample = self.ops.integers([num_sampled], num_movies)
        sample_products = self.ops.inner_products(states, pad_rows(tf.gather(vectors, sample)))
        sample_logits = sample_products + pad_rows(tf.gather(bias, sample), NO_MOVIE)
        is_label = tf.reduce_any(pad_rows(sample, -1) == labels[:, :, None], axis=1)
        negatives = tf.where(is_label, NO_MOVIE, sample_logits)
        # Each sampled movie stands for num_movies / num_sampled movies (Bengio and Senecal 2008).
        log_weight = float(np.log(num_movies / num_sampled))
        return tf.nn.softplus(logsumexp(negatives) + log_weight - label_logits)[:positions]


def next_values(values: tf.Tensor, window: tf.Tensor, count: int) -> tf.Tensor:
    """Return the [rows * length, count] next values of all positions; -1 after a window's end.

    For example, with the windows [0, 0, 2, 2] of a row, its values [5, 7, 9, 3] and `count` 2:
    [[5, 7], [7, -1], [9, 3], [3, -1]].

    Args:
        values: [rows, length] the first next value of every position.
        window: [rows, length] numbers of the windows.
        count: The number of next values.
    """
    columns = []
    for shift in range(count):
        paddings = [[0, 0], [0, min(shift, values.shape[1])]]
        value = tf.pad(values[:, shift:], paddings, constant_values=-1)
        window_of_value = tf.pad(window[:, shift:], paddings, constant_values=-1)
        columns.append(tf.where(window_of_value == window, value, -1))
    return tf.reshape(tf.stack(columns, axis=2), (-1, count))
