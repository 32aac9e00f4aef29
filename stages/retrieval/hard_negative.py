"""The hard-negative retriever: BPR loss against the negatives with the highest current scores.

Each batch samples candidate movies uniformly. From these, the current weights mine the hardest
negatives of each user (dynamic negative sampling, Zhang et al. 2013). A user's positives are no
negatives.
"""

from typing import Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from stages.retrieval import two_tower
from stages.retrieval.data import TrainingData

NO_NEGATIVE = -1e9  # the score of a candidate that is a positive of the user


class Params(two_tower.TwoTowerParams):
    """The parameters of two towers, and of the mining of negatives."""

    loss: Literal["bpr", "in_batch_softmax"]
    """What a positive competes with: `num_hard_negatives` movies one by one, or in a softmax.

    `bpr`: mined from the sampled candidates. `in_batch_softmax`: those with the highest scores
    among the movies of the batch and its uniform negatives. It is the retrieval task of TensorFlow
    Recommenders (`tfrs.tasks.Retrieval`).
    """

    num_negative_candidates: int = Field(ge=1, le=1_000_000)
    """Movies sampled uniformly for a batch, from which each user's hardest are mined."""

    num_hard_negatives: int = Field(ge=1, le=10_000)
    """Mined movies per user, those with the highest scores; every positive must beat them.

    Fewer candidates or more mined movies make easier negatives. With all movies as candidates and
    few mined ones, most negatives would be movies that the user is yet to like.
    """


class MinedTower(two_tower.TwoTower):
    """Two towers whose positives must beat mined negatives one by one."""

    def __init__(self, data: TrainingData, params: Params, rng: np.random.Generator) -> None:
        super().__init__(data, params, rng, num_hard_negatives=params.num_hard_negatives)

    def positive_loss(
        self,
        scores: tf.Tensor,
        positive_weights: tf.Tensor,
        log_weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Sum over positives of the mean of -log sigmoid(positive - negative) (Rendle et al. 2009).

        With scores [2, 5, 3, 1], of which the first two are positives, and one mined negative
        from all movies, the negative is 3: the loss is softplus(3 - 2) + softplus(3 - 5).

        Args:
            scores: [b, movies] of users and movies.
            positive_weights: [b, movies] weights of positives, else 0.
            log_weights: Not used: a mined negative does not stand for other movies.
        """
        p = self.params
        candidates = self.ops.integers([p.num_negative_candidates], scores.shape[1])
        is_positive = tf.gather(positive_weights, candidates, axis=1) > 0
        candidate_scores = tf.stop_gradient(
            tf.where(is_positive, NO_NEGATIVE, tf.gather(scores, candidates, axis=1))
        )
        top_scores, top_index = tf.math.top_k(
            candidate_scores, min(p.num_hard_negatives, p.num_negative_candidates), sorted=False
        )
        # Gathered again, so that only the mined scores have gradients, not all candidates' scores.
        negatives = tf.gather(scores, tf.gather(candidates, top_index), batch_dims=1)
        negatives = tf.where(top_scores > NO_NEGATIVE, negatives, NO_NEGATIVE)
        positives = tf.where(positive_weights > 0)  # [positives, 2] of user and movie
        user_negatives = tf.gather(negatives, positives[:, 0])
        margins = user_negatives - tf.gather_nd(scores, positives)[:, None]
        losses = tf.reduce_mean(tf.nn.softplus(margins), axis=1)
        weighted = tf.gather_nd(positive_weights, positives) * losses
        return tf.reduce_sum(tf.math.segment_sum(weighted, positives[:, 0]))


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """Return the model and its source of batches."""
    model = MinedTower(data, params, rng)
    return model, two_tower.batches(data, params, rng)
