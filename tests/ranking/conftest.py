"""A small context of features, shared by the tests of the ranking package."""

import numpy as np
import polars as pl
import pytest

from stages.common.tables import HISTORIES, KNOWN_POSITIVES
from stages.ranking.feature_groups import FeatureContext
from stages.ranking.features import build_context

DAY = 86_400


@pytest.fixture
def context() -> FeatureContext:
    """Three movies, two users: the positives of user 1 are movies 1 and 2, that of user 2 is 2."""
    rows = [(1, 1, 10 * DAY, 0), (1, 2, 40 * DAY, 0), (2, 2, 39 * DAY, 0)]
    embeddings = np.array([[3, 0], [0, 2], [1, 1]], np.float32)
    users = np.array([[1, 0], [0, 2]], np.float32)
    weights = np.array([[0, 1, 2], [3, 0, 4], [5, 6, 0]], np.float32)
    return build_context(
        catalogue=pl.DataFrame({"movie_id": [1, 2, 3], "year": [1990, None, 2000]}),
        genres=pl.DataFrame({"movie_id": [1, 2, 3], "genre_A": [1, 0, 1], "genre_B": [0, 1, 1]}),
        popularity=pl.DataFrame({"positives": [1, 2, 0], "popularity_rank": [2, 1, 3]}),
        positives=pl.DataFrame(rows, schema=KNOWN_POSITIVES, orient="row"),
        movie_vectors=pl.DataFrame({"movie_id": [1, 2, 3], "embedding": embeddings}),
        user_vectors=pl.DataFrame({"user_id": [1, 2], "embedding": users}),
        item_item={"ease": {"movie_ids": np.array([1, 2, 3]), "weights": weights}},
    )


@pytest.fixture
def histories() -> pl.DataFrame:
    """HISTORIES of the two users of the context."""
    rows = [(1, 1, 2, [1, 2], [10 * DAY, 40 * DAY]), (2, 2, 1, [2], [39 * DAY])]
    return pl.DataFrame(rows, schema=HISTORIES, orient="row")
