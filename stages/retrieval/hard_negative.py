"""The hard-negative retriever: BPR loss against the negatives that score highest now.

For each liking the hardest of the batch's candidates are mined with the current weights
(dynamic negative sampling, Zhang et al. 2013); movies that the user likes are left out.
"""

import dataclasses
import functools
from typing import Annotated

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from stages.common.params import Range
from stages.retrieval import two_tower
from stages.retrieval.training import TrainingData


@dataclasses.dataclass(frozen=True)
class Params(two_tower.TwoTowerParams):
    """`hard_negatives`: how many of the highest-scoring candidates each liking is set against."""

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


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """The model and its source of batches."""
    task = tfrs.tasks.Retrieval(
        loss=BayesianPersonalisedRanking(),
        num_hard_negatives=params.hard_negatives,
    )
    model = two_tower.TwoTower(data, params, rng, task)
    return model, functools.partial(two_tower.batches, data, params.batch_size, rng)
