"""A causal transformer over a user's positives, trained at every position of the sequence."""

from collections.abc import Iterator
from typing import Self

import numpy as np
import tensorflow as tf
from pydantic import Field

from stages.models import towers
from stages.retrieval.data import TrainingData, pack, windows
from stages.retrieval.ops import TensorFlowOps
from stages.retrieval.portable import logsumexp
from stages.retrieval.products import inner_products, pad_rows
from stages.retrieval.training import Retriever, TrainingParams, draw_seed, genre_arrays, normal

# With more data, less dropout is needed.
FULL_DROPOUT_POSITIVES = 100_000
# An epoch of a large data set is a random part of it, so that it is validated often enough.
MAX_STEPS = 384
# With this much data, a tower of twice the width pays; it learns at a lower rate.
WIDE_POSITIVES = 500_000
WIDTH_FACTOR, RATE_FACTOR = 2, 0.75
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

    use_time_gaps: bool
    """Whether the time since the previous movie is an input."""

    use_genres: bool
    """Whether a movie's vector has a part that comes from its genres."""

    num_sampled: int = Field(ge=1, le=1_000_000)
    """Movies sampled for a batch's softmax; a catalogue that has no more is used in full."""

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


class Transformer(Retriever):
    """Next-movie softmax at every position of a window of positives.

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
            w["gap"] = normal(rng, towers.TIME_GAPS, d, scale=0.02)
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
            for part in ("attention_gate", "feed_gate") if params.gated_residuals else ():
                w[f"block{b}_{part}"] = normal(rng, d, d, scale=scale)
        for norm in norms:
            w[f"{norm}_gain"] = np.ones(d, dtype=np.float32)
            w[f"{norm}_bias"] = np.zeros(d, dtype=np.float32)
        super().__init__(w, constants, TensorFlowOps(params.dropout, draw_seed(rng)))
        self.params = params

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Return the mean loss over the positions that have a movie and a next movie.

        Args:
            w: Weights and constants.
            inputs: From `batches`.
        """
        movies, gaps, next_movies, positions, window = tf.unstack(inputs[0], axis=1)
        p = self.params
        is_masked = self.ops.uniform(tf.shape(movies)) < p.item_mask_prob
        states = towers.encode(
            w,
            tf.where(is_masked, -1, movies),
            gaps,
            p.num_heads,
            p.num_blocks,
            self.ops,
            packing=towers.Packing(positions, window),
        )
        losses = self.softmax_losses(
            tf.reshape(states, (-1, p.dimension)),
            tf.reshape(tf.maximum(next_movies, 0), (-1,)),
            towers.movie_vectors(w, self.ops),
            w["bias"],
        )
        mask = tf.reshape(tf.cast((movies >= 0) & (next_movies >= 0), tf.float32), (-1,))
        return tf.reduce_sum(losses * mask) / tf.maximum(tf.reduce_sum(mask), 1)

    def softmax_losses(
        self, states: tf.Tensor, labels: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """Return the [n] softmax losses, over all movies or over a sample.

        Args:
            states: [n, d] users' vectors.
            labels: [n] indices of the next movies.
            vectors: [movies, d] movies' vectors.
            bias: [movies] movies' biases.
        """
        positions, num_movies = states.shape[0], vectors.shape[0]
        num_sampled = self.params.num_sampled
        states, labels = pad_rows(states), pad_rows(labels)
        if num_movies <= num_sampled:
            logits = inner_products(states, pad_rows(vectors)) + pad_rows(bias, NO_MOVIE)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            return losses[:positions]
        label_products = tf.reduce_sum(states * tf.gather(vectors, labels), 1)
        label_logits = label_products + tf.gather(bias, labels)
        sample = self.ops.integers([num_sampled], num_movies)
        sample_products = inner_products(states, pad_rows(tf.gather(vectors, sample)))
        sample_logits = sample_products + pad_rows(tf.gather(bias, sample), NO_MOVIE)
        is_label = pad_rows(sample, -1)[None] == labels[:, None]
        negatives = tf.where(is_label, NO_MOVIE, sample_logits)
        # Each sampled movie stands for num_movies / num_sampled movies (Bengio and Senecal 2008).
        log_weight = float(np.log(num_movies / num_sampled))
        log_sum = logsumexp(negatives)[:, 0] + log_weight
        return tf.nn.softplus(log_sum - label_logits)[:positions]


def packed_rows(data: TrainingData, window_rows: np.ndarray) -> np.ndarray:
    """Put the windows side by side into rows of `length` positions, without their padding.

    A position has a movie and its next movie. Windows of a single movie are left out.

    Args:
        data: The positives.
        window_rows: [n, length + 1] from `windows`.

    Returns:
        [rows, 5, length] int32: movies and their time gaps, next movies, positions in the window
        (the last one is `length` - 1), and the window, by a number that no other window of the row
        has. At positions that are left, the movies and the window are -1, and the others 0.
    """
    window_rows = window_rows[window_rows[:, -2] >= 0]
    length = window_rows.shape[1] - 1
    mask = window_rows >= 0
    movies = data.movie_index[window_rows]
    gaps = towers.time_gaps(data.timestamps[window_rows], mask)
    has_next = mask[:, :-1]
    lengths = has_next.sum(axis=1)
    row, offset = pack(lengths, length)
    window, position = has_next.nonzero()
    column = offset[window] + position - (length - lengths[window])
    packed = np.zeros((row.max(initial=0) + 1, 5, length), dtype=np.int32)
    packed[:, [0, 2, 4]] = -1
    values = movies[:, :-1][has_next], gaps[:, :-1][has_next], movies[:, 1:][has_next]
    for channel, channel_values in enumerate((*values, position, offset[window])):
        packed[row[window], channel, column] = channel_values
    return packed


def batches(
    data: TrainingData, params: TransformerParams, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray]]:
    """Yield an epoch: all windows once, in random order, or as many as `MAX_STEPS` batches of them.

    The windows are packed, so they fill fewer batches. Rows from the start of the order fill up the
    last batch.

    Yields:
        [b, 5, length] rows of `packed_rows`.
    """
    rows = windows(data, data.max_length, rng)
    size = params.batch_size
    rows = rows[rng.permutation(len(rows))[: MAX_STEPS * size]]
    packed = packed_rows(data, rows)
    steps = -(-len(packed) // size)
    order = np.resize(rng.permutation(len(packed)), steps * size)
    for start in range(0, len(order), size):
        yield (packed[order[start : start + size]],)
