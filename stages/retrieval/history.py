"""The history retriever: a causal transformer over what a user liked, trained at every place."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Annotated, Self

import numpy as np
import tensorflow as tf

from stages import towers
from stages.common.params import Range
from stages.retrieval.ops import TensorFlowOps
from stages.retrieval.training import (
    Retriever,
    TrainingData,
    TrainingParams,
    draw_seed,
    genre_arrays,
    normal,
)

# More likings teach by themselves what dropout has to stand for where there are few.
FULL_DROPOUT_LIKINGS = 100_000
# An epoch is a random part of a large data set, so that progress is looked at often enough.
MOST_STEPS = 384
# So many fill a tower of twice the width, which learns at a lower rate.
WIDE_LIKINGS = 500_000
WIDTH, RATE = 2, 0.75


@dataclasses.dataclass(frozen=True)
class Params(TrainingParams):
    """Size of the transformer, and `dropout` of its inputs, attention and outputs.

    `dropout`, `dimension` and `learning_rate` are those for few likings; `sized` fits them to more.
    `hidden`: share of the movies of a window that are hidden in training, as noise that
    keeps the tower from learning single histories by heart. `gates`, `time_gaps`, `genres`: whether
    residuals are gated, the time since the movie before is an input, a movie's vector has a part
    that comes from its genres. `negatives`: how many movies are drawn for a batch to stand for
    the whole catalogue in the softmax; a catalogue that is no larger is used in full.
    """

    blocks: Annotated[int, Range(1, 64)]
    heads: Annotated[int, Range(1, 64)]
    dropout: Annotated[float, Range(0, 0.95)]
    hidden: Annotated[float, Range(0, 0.95)]
    gates: bool
    time_gaps: bool
    genres: bool
    negatives: Annotated[int, Range(1, 1_000_000)]

    def sized(self, likings: int, users: int) -> Self:
        """The params for so many likings; of users they do not depend.

        Beyond `FULL_DROPOUT_LIKINGS` `dropout` falls with their square root; from `WIDE_LIKINGS` on
        `dimension` is `WIDTH` times and `learning_rate` `RATE` times as large.
        """
        share = min(1.0, (FULL_DROPOUT_LIKINGS / likings) ** 0.5)
        width, rate = (WIDTH, RATE) if likings >= WIDE_LIKINGS else (1, 1.0)
        return dataclasses.replace(
            self,
            dropout=self.dropout * share,
            dimension=self.dimension * width,
            learning_rate=self.learning_rate * rate,
        )


class SequenceTower(Retriever):
    """Next-movie softmax at every place of a window of likings.

    TFRS's retrieval task pairs each query with one candidate of the batch; a softmax over a
    catalogue, or over a sample of it, that all places share is cheaper.
    """

    compiled = True

    def __init__(self, data: TrainingData, params: Params, rng: np.random.Generator) -> None:
        d, movies = params.dimension, len(data.movie_ids)
        scale, last = d**-0.5, (2 * params.blocks * d) ** -0.5
        w = {
            "movie": normal(rng, movies, d, scale=scale),
            "bias": np.zeros(movies, dtype=np.float32),
            "position": normal(rng, data.max_length, d, scale=0.02),
        }
        fixed = {
            "movie_ids": data.movie_ids,
            "heads": np.array(params.heads),
            "blocks": np.array(params.blocks),
        }
        if params.time_gaps:
            w["gap"] = normal(rng, towers.TIME_GAPS, d, scale=0.02)
        if params.genres:
            trainable, constant = genre_arrays(data, d, rng)
            w, fixed = w | trainable, fixed | constant
        norms = ["final"]
        for b in range(params.blocks):
            norms += [f"block{b}_attention", f"block{b}_feed"]
            for part in ("query", "key", "value"):
                w[f"block{b}_{part}"] = normal(rng, d, d, scale=scale)
            w[f"block{b}_output"] = normal(rng, d, d, scale=last)
            w[f"block{b}_gate"] = normal(rng, d, 2 * d, scale=scale)
            w[f"block{b}_up"] = normal(rng, d, 2 * d, scale=scale)
            w[f"block{b}_down"] = normal(rng, 2 * d, d, scale=last * 2**-0.5)
            for part in ("attention_gate", "feed_gate") if params.gates else ():
                w[f"block{b}_{part}"] = normal(rng, d, d, scale=scale)
        for norm in norms:
            w[f"{norm}_gain"] = np.ones(d, dtype=np.float32)
            w[f"{norm}_bias"] = np.zeros(d, dtype=np.float32)
        super().__init__(w, fixed, TensorFlowOps(params.dropout, draw_seed(rng)))
        self.params = params

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Mean loss of [b, 2, length] windows and, for each place, the movie after it.

        A window is a row of movies and one of time gaps.
        """
        (before, gaps), after = tf.unstack(inputs[0], axis=1), inputs[1]
        p = self.params
        shown = tf.where(self.ops.uniform(tf.shape(before)) < p.hidden, -1, before)
        states = towers.encode(w, shown, gaps, p.heads, p.blocks, self.ops)
        losses = self.losses_of(
            tf.reshape(states, (-1, p.dimension)),
            tf.reshape(tf.maximum(after, 0), (-1,)),
            towers.movie_vectors(w, self.ops),
            w["bias"],
        )
        real = tf.reshape(tf.cast((before >= 0) & (after >= 0), tf.float32), (-1,))
        return tf.reduce_sum(losses * real) / tf.maximum(tf.reduce_sum(real), 1)

    def losses_of(
        self, states: tf.Tensor, labels: tf.Tensor, table: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """[n] softmax losses of `labels` [n] for the users' vectors `states` [n, d].

        `table` [movies, d] and `bias` [movies] are the movies'.
        """
        movies, drawn = table.shape[0], self.params.negatives
        if movies <= drawn:
            logits = tf.matmul(states, table, transpose_b=True) + bias
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        wanted = tf.reduce_sum(states * tf.gather(table, labels), 1) + tf.gather(bias, labels)
        some = self.ops.uniform([drawn], movies, tf.int32)
        logits = tf.matmul(states, tf.gather(table, some), transpose_b=True) + tf.gather(bias, some)
        others = tf.where(some[None] == labels[:, None], -1e9, logits)
        # Each movie drawn stands for movies / drawn others (Bengio and Senecal 2008).
        rest = tf.reduce_logsumexp(others, axis=1) + float(np.log(movies / drawn))
        return tf.nn.softplus(rest - wanted)


def windows(data: TrainingData, length: int, rng: np.random.Generator) -> np.ndarray:
    """[n, length + 1] rows of `data`, -1 as padding on the left.

    Every user's newest likings, and windows that cover the rest of a longer list; where those
    begin is drawn anew each time.
    """
    ends = np.flatnonzero(np.append(data.users[1:] != data.users[:-1], True)) + 1
    counts = np.diff(ends, prepend=0)
    shift = np.where(counts > length + 1, rng.integers(1, length + 1, len(counts)), counts)
    users = np.repeat(np.arange(len(ends)), 1 + np.maximum(-(-(counts - shift - 1) // length), 0))
    first = np.flatnonzero(np.diff(users, prepend=-1))
    nth = np.arange(len(users)) - np.repeat(first, np.diff(first, append=len(users)))
    back = np.where(nth == 0, 0, shift[users] + (nth - 1) * length)
    place = (counts[users] - back)[:, None] - np.arange(length + 1, 0, -1)
    rows = (ends - counts)[users][:, None] + np.maximum(place, 0)
    return np.where(place >= 0, rows, -1)


def batches(
    data: TrainingData, params: Params, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All windows once, shuffled, or `MOST_STEPS` batches of them; the last one is filled up."""
    drawn = windows(data, data.max_length, rng)
    size = params.batch_size
    steps = min(-(-len(drawn) // size), MOST_STEPS)
    order = np.resize(rng.permutation(len(drawn)), steps * size)
    for start in range(0, len(order), size):
        rows = drawn[order[start : start + size]]
        real = rows >= 0
        movies = np.where(real, data.movies[rows], -1)
        gaps = towers.time_gaps(data.times[rows], real)
        yield np.stack([movies, gaps], axis=1)[:, :, :-1], movies[:, 1:]


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """The model and its source of batches."""
    return SequenceTower(data, params, rng), functools.partial(batches, data, params, rng)
