"""The history retriever: a transformer over the user's positives."""

import functools

import numpy as np

from stages.retrieval import transformer
from stages.retrieval.data import TrainingData

Params = transformer.TransformerParams


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """Return the model and its source of batches."""
    model = transformer.Transformer(data, params, rng)
    return model, functools.partial(transformer.batches, data, params, rng)
