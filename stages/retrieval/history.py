"""The history retriever: a causal transformer over what a user liked, trained at every place."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import tensorflow as tf

from stages import towers
from stages.common.params import Range
from stages.retrieval.ops import TensorFlowOps
from stages.retrieval.training import Retriever, TrainingData, TrainingParams, draw_seed, normal


@dataclasses.dataclass(frozen=True)
class Params(TrainingParams):
    """Size of the transformer, and `dropout` of its inputs, attention and outputs.

    `hidden`: share of the movies of a window that are hidden in training, as noise that keeps
    the tower from learning single histories by heart.
    """

    blocks: Annotated[int, Range(1, 64)]
    heads: Annotated[int, Range(1, 64)]
    dropout: Annotated[float, Range(0, 0.95)]
    hidden: Annotated[float, Range(0, 0.95)]


class SequenceTower(Retriever):
    """Next-movie softmax over every liked movie, at every place of a window of likings.

    TFRS's retrieval task pairs each query with one candidate of the batch; a softmax over a
    whole catalogue that all places share is cheaper and has no sampling error.
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
        norms = ["final"]
        for b in range(params.blocks):
            norms += [f"block{b}_attention", f"block{b}_feed"]
            for part in ("query", "key", "value"):
                w[f"block{b}_{part}"] = normal(rng, d, d, scale=scale)
            w[f"block{b}_output"] = normal(rng, d, d, scale=last)
            w[f"block{b}_gate"] = normal(rng, d, 2 * d, scale=scale)
            w[f"block{b}_up"] = normal(rng, d, 2 * d, scale=scale)
            w[f"block{b}_down"] = normal(rng, 2 * d, d, scale=last * 2**-0.5)
        for norm in norms:
            w[f"{norm}_gain"] = np.ones(d, dtype=np.float32)
            w[f"{norm}_bias"] = np.zeros(d, dtype=np.float32)
        fixed = {
            "movie_ids": data.movie_ids,
            "heads": np.array(params.heads),
            "blocks": np.array(params.blocks),
        }
        super().__init__(w, fixed)
        self.params = params
        self.ops = TensorFlowOps(params.dropout, draw_seed(rng))

    def compute_loss(
        self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Mean loss of [b, length] windows of movies and, for each place, the movie after it."""
        before, after = inputs
        p = self.params
        self.ops.next_step()
        shown = tf.where(self.ops.uniform(tf.shape(before)) < p.hidden, -1, before)
        states = towers.encode(self.w, shown, p.heads, p.blocks, self.ops)
        logits = tf.reshape(states, (-1, p.dimension)) @ tf.transpose(self.w["movie"])
        labels = tf.reshape(tf.maximum(after, 0), (-1,))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits + self.w["bias"])
        real = tf.reshape(tf.cast((before >= 0) & (after >= 0), tf.float32), (-1,))
        return tf.reduce_sum(losses * real) / tf.maximum(tf.reduce_sum(real), 1)


def windows(data: TrainingData, length: int, rng: np.random.Generator) -> np.ndarray:
    """[n, length + 1] movie numbers, -1 as padding on the left.

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
    return np.where(place >= 0, data.movies[rows], -1).astype(np.int32)


def batches(
    data: TrainingData, params: Params, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All windows once, shuffled; the last batch is filled up with others."""
    drawn = windows(data, data.max_length, rng)
    size = params.batch_size
    rows = np.resize(rng.permutation(len(drawn)), -(-len(drawn) // size) * size)
    for start in range(0, len(rows), size):
        chosen = drawn[rows[start : start + size]]
        yield chosen[:, :-1], chosen[:, 1:]


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """The model and its source of batches."""
    return SequenceTower(data, params, rng), functools.partial(batches, data, params, rng)
