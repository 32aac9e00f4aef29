"""The hard-negative retriever: BPR loss against the negatives that score highest now.

For each liking the hardest of the batch's candidates are mined with the current weights
(dynamic negative sampling, Zhang et al. 2013); movies that the user likes are left out.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from stages import towers
from stages.common.params import Range
from stages.retrieval.training import TrainingData
from stages.retrieval.two_tower import TwoTower, TwoTowerParams


@dataclasses.dataclass(frozen=True)
class Params(TwoTowerParams):
    """`negatives`: movies drawn uniformly as candidates of a batch, beside its own likings;
    `hard_negatives`: how many of the highest-scoring candidates each liking is set against.
    """

    negatives: Annotated[int, Range(1, 1_000_000)]
    hard_negatives: Annotated[int, Range(1, 10_000)]


class BayesianPersonalisedRanking(tf.keras.losses.Loss):
    """-log sigmoid(liked - negative), averaged over a liking's negatives (Rendle et al. 2009)."""

    def __init__(self) -> None:
        super().__init__(reduction=tf.keras.losses.Reduction.SUM)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """[b] losses of [b, 1 + n] scores, of which the one-hot `y_true` marks the liked one."""
        liked = tf.reduce_sum(y_true * y_pred, axis=1, keepdims=True)
        wrong = 1 - y_true
        losses = tf.nn.softplus(y_pred - liked) * wrong
        return tf.reduce_sum(losses, axis=1) / tf.reduce_sum(wrong, axis=1)


class MinedTower(TwoTower):
    """Two towers trained on single likings, each against the hardest candidates of its batch."""

    def __init__(self, data: TrainingData, params: Params, rng: np.random.Generator) -> None:
        super().__init__(data, params, rng)
        self.task = tfrs.tasks.Retrieval(
            loss=BayesianPersonalisedRanking(), num_hard_negatives=params.hard_negatives
        )
        counts = np.bincount(data.movies)
        # How often a candidate of this id is expected: in-batch ones are popular, and without
        # a correction (logQ, Yi et al. 2019) popular movies would be pushed down too far.
        expected = params.batch_size * counts / counts.sum() + params.negatives / len(counts)
        self.probability = tf.constant(expected / expected.sum(), tf.float32)
        liked = np.zeros((len(data.user_ids), len(data.movie_ids)), dtype=bool)
        liked[data.users, data.movies] = True
        self.liked = tf.constant(np.packbits(liked, axis=1, bitorder="little"))

    def unliked(self, users: tf.Tensor, movies: tf.Tensor) -> tf.Tensor:
        """[users, movies] bool: which of the movies the user has not liked."""
        rows = tf.gather(self.liked, users)
        bytes_ = tf.gather(rows, movies // 8, axis=1)
        bits = tf.bitwise.right_shift(bytes_, tf.cast(movies % 8, tf.uint8)[None])
        return tf.equal(bits % 2, 0)

    def compute_loss(
        self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Mean loss of [b] user numbers and the [b] movies that they like."""
        users, liked = inputs
        count = tf.shape(users)[0]
        self.ops.next_step()
        drawn = self.ops.uniform([self.params.negatives], self.w["bias"].shape[0], tf.int32)
        movies = tf.concat([liked, drawn], 0)
        query, candidates = tf.gather(self.w["user"], users), tf.gather(self.w["movie"], movies)
        mask = self.unliked(users, movies) | tf.eye(count, tf.shape(movies)[0], dtype=tf.bool)
        loss = self.task(
            towers.with_one(self.ops.dropout(query), self.ops),
            towers.with_bias(candidates, tf.gather(self.w["bias"], movies), self.ops),
            candidate_sampling_probability=tf.gather(self.probability, movies),
            score_mask=mask,
            compute_metrics=False,
            compute_batch_metrics=False,
        )
        size = tf.nn.l2_loss(query) + tf.nn.l2_loss(candidates[:count])
        return (loss + self.params.l2 * size) / tf.cast(count, tf.float32)


def batches(
    data: TrainingData, size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every liking once, shuffled over all users; the last batch is filled up with others."""
    rows = rng.permutation(len(data.users))
    rows = np.resize(rows, -(-len(rows) // size) * size)
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        yield data.users[chosen], data.movies[chosen]


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """The model and its source of batches."""
    model = MinedTower(data, params, rng)
    return model, functools.partial(batches, data, params.batch_size, rng)
