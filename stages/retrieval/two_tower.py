"""Two towers of ids: what the id, genre and hard-negative retrievers share."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from stages import towers
from stages.common.params import Range
from stages.retrieval.ops import TensorFlowOps
from stages.retrieval.training import (
    Arrays,
    Retriever,
    TrainingData,
    TrainingParams,
    draw_seed,
    normal,
)


@dataclasses.dataclass(frozen=True)
class TwoTowerParams(TrainingParams):
    """`negatives`: movies drawn uniformly per batch; `l2`: weight of the vectors' squared length;
    `dropout`: share of the vectors' coordinates dropped in training.
    """

    negatives: Annotated[int, Range(1, 1_000_000)]
    l2: Annotated[float, Range(0, 1000)]
    dropout: Annotated[float, Range(0, 0.95)]


class TwoTower(Retriever):
    """User and movie vectors whose inner product scores a liking.

    The candidates of a batch are its own movies, then `negatives` drawn uniformly. A movie that
    the user likes is no negative (`mask_liked`).
    """

    def __init__(
        self,
        data: TrainingData,
        params: TwoTowerParams,
        rng: np.random.Generator,
        task: tfrs.tasks.Retrieval,
        extra: tuple[Arrays, Arrays] = ({}, {}),
    ) -> None:
        scale = params.dimension**-0.5
        trainable = {
            "user": normal(rng, len(data.user_ids), params.dimension, scale=scale),
            "movie": normal(rng, len(data.movie_ids), params.dimension, scale=scale),
            "bias": np.zeros(len(data.movie_ids), dtype=np.float32),
        }
        fixed = {"user_ids": data.user_ids, "movie_ids": data.movie_ids}
        super().__init__(trainable | extra[0], fixed | extra[1])
        self.params, self.task = params, task
        self.ops = TensorFlowOps(params.dropout, draw_seed(rng))
        self.in_training = self.w
        counts = np.bincount(data.movies)
        # How often a candidate of this id is expected in a batch, for the logQ correction.
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
        """Mean loss of a batch of [b] user numbers and the [b] movies they like."""
        users, liked = inputs
        count = tf.shape(users)[0]
        self.ops.next_step()
        drawn = self.ops.uniform([self.params.negatives], self.w["bias"].shape[0], tf.int32)
        movies = tf.concat([liked, drawn], 0)
        table = towers.movie_vectors(self.in_training, self.ops)
        query, candidates = tf.gather(self.w["user"], users), tf.gather(table, movies)
        size = tf.nn.l2_loss(query) + tf.nn.l2_loss(candidates[:count])
        mask = self.unliked(users, movies) | tf.eye(count, tf.shape(movies)[0], dtype=tf.bool)
        loss = self.task(
            towers.with_one(self.ops.dropout(query), self.ops),
            towers.with_bias(candidates, tf.gather(self.w["bias"], movies), self.ops),
            candidate_sampling_probability=tf.gather(self.probability, movies),
            candidate_ids=movies,
            score_mask=mask,
            compute_metrics=False,
            compute_batch_metrics=False,
        )
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
