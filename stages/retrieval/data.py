"""The positives, low ratings and genres that a retriever learns from, as arrays."""

from typing import NamedTuple

import numpy as np
import polars as pl


class TrainingData(NamedTuple):
    """Positives, sorted by user and time, low ratings, and the genres of all movies."""

    user_ids: np.ndarray  # [users], sorted
    movie_ids: np.ndarray  # [movies], sorted; only movies with a positive
    user_index: np.ndarray  # [positives] int32, positions in user_ids
    movie_index: np.ndarray  # [positives] int32, positions in movie_ids
    timestamps: np.ndarray  # [positives] int64, seconds
    low_user_index: np.ndarray  # [low ratings] positions in user_ids
    low_movie_index: np.ndarray  # [low ratings] positions in movie_ids
    max_length: int  # of a history
    catalogue_ids: np.ndarray  # [catalogue], sorted
    catalogue_genres: np.ndarray  # [catalogue, genres] float32; a row sums to 1, or to 0


def training_data(
    positives: pl.DataFrame, low_ratings: pl.DataFrame, genres: pl.DataFrame, max_length: int
) -> TrainingData:
    """Index the users and movies of the positives.

    Args:
        positives: KNOWN_POSITIVES.
        low_ratings: LOW_RATINGS of their users; those of movies without a positive are left out.
        genres: The table of the stage genre_features.
        max_length: The most movies of a history.
    """
    user_ids, user_index = np.unique(positives["user_id"].to_numpy(), return_inverse=True)
    movie_ids, movie_index = np.unique(positives["movie_id"].to_numpy(), return_inverse=True)
    low_ratings = low_ratings.filter(pl.col("movie_id").is_in(movie_ids))
    flags = genres.drop("movie_id").to_numpy().astype(np.float32)
    return TrainingData(
        user_ids=user_ids,
        movie_ids=movie_ids,
        user_index=user_index.astype(np.int32),
        movie_index=movie_index.astype(np.int32),
        timestamps=positives["timestamp"].to_numpy(),
        low_user_index=np.searchsorted(user_ids, low_ratings["user_id"].to_numpy()),
        low_movie_index=np.searchsorted(movie_ids, low_ratings["movie_id"].to_numpy()),
        max_length=max_length,
        catalogue_ids=genres["movie_id"].to_numpy(),
        catalogue_genres=flags / np.maximum(flags.sum(axis=1, keepdims=True), 1),
    )
