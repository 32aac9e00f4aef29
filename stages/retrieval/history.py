"""The history retriever: a transformer over the user's positives."""

import functools

import numpy as np

from stages.retrieval import transformer
from stages.retrieval.data import TrainingData, ratings_in_order
from stages.retrieval.windows import batches

Params = transformer.TransformerParams


def build(data: TrainingData, params: Params, rng: np.random.Generator):
    """Return the model and its source of batches."""
    model = transformer.Transformer(data, params, rng)
    ratings = ratings_in_order(data, params.low_weight > 0)  # once, not in every epoch
    return model, functools.partial(batches, ratings, data.max_length, params.batch_size, rng)
