"""A tower of users and one of movies: what the id, genre and hard-negative retrievers share."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import scipy.sparse as sp
import tensorflow as tf

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
    """`l2`: weight of the vectors' squared length, per liking; `dropout`: share of the users'
    coordinates that are dropped in training.
    """

    l2: Annotated[float, Range(0, 1000)]
    dropout: Annotated[float, Range(0, 0.95)]


class TwoTower(Retriever):
    """User and movie vectors whose inner product scores a liking, with a full softmax.

    Each liking competes with all movies that its user does not like; those the user likes too
    are no negatives. A user's vector is the same for all their likings, so one row of scores
    per user serves them all: no sampling, no correction for it, and few large products.
    """

    def __init__(
        self,
        data: TrainingData,
        params: TwoTowerParams,
        rng: np.random.Generator,
        extra: tuple[Arrays, Arrays] = ({}, {}),
    ) -> None:
        scale = params.dimension**-0.5
        trainable = {
            "user": normal(rng, len(data.user_ids), params.dimension, scale=scale),
            "movie": normal(rng, len(data.movie_ids), params.dimension, scale=scale),
            "bias": np.zeros(len(data.movie_ids), dtype=np.float32),
        }
        fixed = {"user_ids": data.user_ids, "movie_ids": data.movie_ids}
        ops = TensorFlowOps(params.dropout, draw_seed(rng))
        super().__init__(trainable | extra[0], fixed | extra[1], ops)
        self.params = params

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Mean loss per liking of [b] user numbers and their [b, movies] likings, 0 or 1."""
        users, liked = inputs
        query = tf.gather(w["user"], users)
        movies = towers.movie_vectors(w, self.ops)
        scores = tf.matmul(
            towers.with_one(self.ops.dropout(query), self.ops),
            towers.with_bias(movies, w["bias"], self.ops),
            transpose_b=True,
        )
        size = tf.reduce_sum(query**2, axis=1)[:, None] + tf.reduce_sum(movies**2, axis=1)[None]
        shrink = 0.5 * self.params.l2 * tf.reduce_sum(liked * size)
        return (self.liking_loss(scores, liked) + shrink) / tf.reduce_sum(liked)

    def liking_loss(self, scores: tf.Tensor, liked: tf.Tensor) -> tf.Tensor:
        """Sum of -log of exp(s) / (exp(s) + sum over unliked movies), over likings of score s.

        Args:
            scores: [b, movies] of all movies.
            liked: [b, movies] ones and zeros.
        """
        unliked = tf.reduce_logsumexp(tf.where(liked > 0, -1e9, scores), axis=1, keepdims=True)
        return tf.reduce_sum(liked * tf.nn.softplus(unliked - scores))


def batches(
    data: TrainingData, size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every user once, shuffled; the last batch is filled up with others."""
    shape = (len(data.user_ids), len(data.movie_ids))
    ones = np.ones(len(data.users), dtype=np.float32)
    liked = sp.csr_array((ones, (data.users, data.movies)), shape=shape)
    order = rng.permutation(shape[0])
    order = np.resize(order, -(-len(order) // size) * size)
    for start in range(0, len(order), size):
        users = order[start : start + size].astype(np.int32)
        yield users, liked[users].toarray()
