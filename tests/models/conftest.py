"""A small model, shared by the tests of towers and of users' vectors."""

import numpy as np
import polars as pl
import pytest

from tests.tiny_chain import random_sequence_tower


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """A random sequence tower of 12 movies, in a catalogue of 15."""
    ids = np.arange(1, 16, dtype=np.int32)
    genres = pl.DataFrame({"movie_id": ids, "genre_a": ids % 2, "genre_b": ids % 3 == 0})
    return random_sequence_tower(np.random.default_rng(2), ids[:12], genres)
