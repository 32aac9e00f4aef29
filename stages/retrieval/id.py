"""The id retriever: a vector per user and per movie, mixed-negative softmax with logQ.

In-batch and uniform negatives together (Yang et al. 2020), corrected for how often each movie
is drawn (Yi et al. 2019).
"""

import functools

import numpy as np
import tensorflow_recommenders as tfrs

from stages.retrieval import two_tower
from stages.retrieval.training import TrainingData

Params = two_tower.TwoTowerParams


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """The model and its source of batches."""
    task = tfrs.tasks.Retrieval()
    model = two_tower.TwoTower(data, params, rng, task)
    return model, functools.partial(two_tower.batches, data, params.batch_size, rng)
