"""The id retriever: a vector per user and per movie, and a softmax over all movies."""

import numpy as np

from stages.retrieval import two_tower
from stages.retrieval.data import TrainingData

Params = two_tower.TwoTowerParams


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """Return the model and its source of batches."""
    model = two_tower.TwoTower(data, params, rng)
    return model, two_tower.batches(data, params, rng)
