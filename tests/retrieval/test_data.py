import numpy as np
import polars as pl

from stages.retrieval.data import training_data
from tests.small_tables import low_rated_pairs

KEYS = {"user_id": pl.Int32, "movie_id": pl.Int32}


def test_users_and_movies_are_indexed_and_genres_are_means() -> None:
    rows = {"user_id": [4, 4, 9], "movie_id": [20, 10, 20], "timestamp": [1, 2, 3]}
    genres = pl.DataFrame(
        {"movie_id": [10, 20, 30], "genre_a": [1, 1, 0], "genre_b": [1, 0, 0]},
        schema_overrides={"genre_a": pl.UInt8, "genre_b": pl.UInt8},
    )
    # Movie 30 has no positive, so its low rating is left out.
    low = low_rated_pairs([(9, 10), (4, 30)])
    data = training_data(pl.DataFrame(rows).cast(KEYS), low, genres, 5)
    assert data.user_ids.tolist() == [4, 9]
    assert data.movie_ids.tolist() == [10, 20]
    assert data.user_index.tolist() == [0, 0, 1]
    assert data.movie_index.tolist() == [1, 0, 1]
    assert data.user_index.dtype == data.movie_index.dtype == np.int32
    assert data.low_user_index.tolist() == [1]
    assert data.low_movie_index.tolist() == [0]
    assert data.timestamps.tolist() == [1, 2, 3]
    assert data.max_length == 5
    assert data.catalogue_ids.tolist() == [10, 20, 30]
    assert data.catalogue_genres.tolist() == [[0.5, 0.5], [1, 0], [0, 0]]
    assert data.catalogue_genres.dtype == np.float32
