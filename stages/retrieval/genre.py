"""The genre retriever: a movie's vector is its own plus those of its genres.

In training a share of the movies goes without its own vector, so that genres alone can place a
movie that nobody has liked yet (DropoutNet, Volkovs et al. 2017).
"""

import dataclasses
from typing import Annotated

import numpy as np
import tensorflow as tf

from stages.common.params import Range
from stages.retrieval import two_tower
from stages.retrieval.training import TrainingData, genre_arrays


@dataclasses.dataclass(frozen=True)
class Params(two_tower.TwoTowerParams):
    """`movie_dropout`: share of movies that go without their own vector in a batch; `own_l2`:
    weight of the own vectors' squared length, per movie. Unlike `l2` it does not grow with a
    movie's likings: the fewer these are, the more its genres decide.
    """

    movie_dropout: Annotated[float, Range(0, 0.95)]
    own_l2: Annotated[float, Range(0, 1000)]


class GenreTower(two_tower.TwoTower):
    """Adds `genre` [genres, d], and each movie's genres as constants."""

    def __init__(self, data: TrainingData, params: Params, rng: np.random.Generator) -> None:
        super().__init__(data, params, rng, genre_arrays(data, params.dimension, rng))
        self.ops.row_rate = params.movie_dropout
        self.own_l2 = params.own_l2 / len(data.users)  # the loss is a mean over likings

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """That of the two towers, and the own vectors' length."""
        own = tf.reduce_sum(w["movie"] ** 2)
        return super().batch_loss(w, inputs) + 0.5 * self.own_l2 * own


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """The model and its source of batches."""
    model = GenreTower(data, params, rng)
    return model, two_tower.batches(data, params, rng)
