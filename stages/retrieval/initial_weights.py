"""Initial weights of the retrievers."""

import numpy as np

from stages.retrieval.data import TrainingData
from stages.retrieval.worker import Arrays


def normal(rng: np.random.Generator, *shape: int, scale: float) -> np.ndarray:
    """Draw float32 weights with mean 0 and standard deviation `scale`."""
    return rng.normal(0, scale, shape).astype(np.float32)


def genre_arrays(
    data: TrainingData, dimension: int, rng: np.random.Generator
) -> tuple[Arrays, Arrays]:
    """Return the weights and the constants that `towers.movie_vectors` needs for genres."""
    rows = np.searchsorted(data.catalogue_ids, data.movie_ids)
    constants = {
        "catalogue_ids": data.catalogue_ids,
        "catalogue_genres": data.catalogue_genres,
        "movie_genres": data.catalogue_genres[rows],
    }
    genres = data.catalogue_genres.shape[1]
    return {"genre": normal(rng, genres, dimension, scale=dimension**-0.5)}, constants
