"""The hard-negative retriever: BPR loss against the negatives that score highest now.

In every batch some movies are drawn, and of those the hardest for each user are mined with the
current weights (dynamic negative sampling, Zhang et al. 2013). What the user likes is left out.
"""

import dataclasses
from typing import Annotated

import numpy as np
import tensorflow as tf

from stages.common.params import Range
from stages.retrieval import two_tower
from stages.retrieval.training import TrainingData

LIKED = -1e9  # the score of what is no negative


@dataclasses.dataclass(frozen=True)
class Params(two_tower.TwoTowerParams):
    """`negatives`: movies drawn uniformly for a batch; `hard_negatives`: how many of them, those
    that score highest with a user, each of the user's likings is set against. Fewer drawn or
    more kept is easier; all drawn and few kept would mostly find what the user is yet to like.
    """

    negatives: Annotated[int, Range(1, 1_000_000)]
    hard_negatives: Annotated[int, Range(1, 10_000)]


class MinedTower(two_tower.TwoTower):
    """Two towers whose likings must beat mined negatives one by one."""

    def liking_loss(
        self, scores: tf.Tensor, liked: tf.Tensor, shift: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Sum over likings of the mean of -log sigmoid(liking - negative) (Rendle et al. 2009).

        `shift` is of no use: no negative stands for others.
        """
        p = self.params
        drawn = self.ops.uniform([p.negatives], scores.shape[1], tf.int32)
        seen = tf.gather(liked, drawn, axis=1) > 0
        found = tf.stop_gradient(tf.where(seen, LIKED, tf.gather(scores, drawn, axis=1)))
        mined, order = tf.math.top_k(found, min(p.hard_negatives, p.negatives), sorted=False)
        # Gradients of the few that are mined, not of all that were drawn.
        hardest = tf.gather(scores, tf.gather(drawn, order), batch_dims=1)
        hardest = tf.where(mined > LIKED, hardest, LIKED)
        place = tf.where(liked > 0)  # [likings, 2] of user and movie
        ahead = tf.gather(hardest, place[:, 0]) - tf.gather_nd(scores, place)[:, None]
        losses = tf.reduce_mean(tf.nn.softplus(ahead), axis=1)
        return tf.reduce_sum(tf.gather_nd(liked, place) * losses)


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """The model and its source of batches."""
    model = MinedTower(data, params, rng)
    return model, two_tower.batches(data, params, rng)
