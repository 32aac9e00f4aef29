"""The genre retriever: a movie's vector is its own vector plus the mean of its genres' vectors.

In each batch, a share of the movies goes without its own vector, so that genres alone can place a
movie without a positive (DropoutNet, Volkovs et al. 2017).
"""

import numpy as np
import tensorflow as tf
from pydantic import Field

from stages.retrieval import two_tower
from stages.retrieval.data import TrainingData
from stages.retrieval.initial_weights import genre_arrays
from stages.retrieval.products import total


class Params(two_tower.TwoTowerParams):
    """The parameters of two towers, and the weight of a movie's own vector beside its genres."""

    movie_dropout: float = Field(ge=0, le=0.95)
    """Share of the movies that go without their own vector in a batch."""

    item_l2: float = Field(ge=0, le=1000)
    """Weight of the squared length of the movies' own vectors, per movie.

    Unlike `l2` it does not grow with a movie's positives: the fewer there are, the more its
    genres decide.
    """


class GenreTower(two_tower.TwoTower):
    """Two towers with the weights `genre` [genres, d]; each movie's genres are constants."""

    def __init__(self, data: TrainingData, params: Params, rng: np.random.Generator) -> None:
        super().__init__(data, params, rng, genre_arrays(data, params.dimension, rng))
        self.ops.row_dropout_rate = params.movie_dropout
        self.item_l2 = params.item_l2 / len(data.user_index)  # the loss is a mean over positives

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Return the loss of two towers plus the penalty on the movies' own vectors."""
        squared_length = total(w["movie"] ** 2)
        return super().batch_loss(w, inputs) + 0.5 * self.item_l2 * squared_length


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """Return the model and its source of batches."""
    model = GenreTower(data, params, rng)
    return model, two_tower.batches(data, params, rng)
