"""What a retriever learns from: positives, low ratings and genres."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.retrieval.sampling import inclusion_probabilities, systematic_sample
from stages.retrieval.windows import Ratings

Batches = Callable[[], Iterator[tuple[np.ndarray, ...]]]


class TrainingData(NamedTuple):
    """Positives, sorted by user and time, low ratings, and the genres of all movies."""

    user_ids: np.ndarray  # [users], sorted
    movie_ids: np.ndarray  # [movies], sorted; only movies with a positive
    user_index: np.ndarray  # [positives] int32, positions in user_ids
    movie_index: np.ndarray  # [positives] int32, positions in movie_ids
    timestamps: np.ndarray  # [positives] int64, seconds
    low_user_index: np.ndarray  # [low ratings] positions in user_ids
    low_movie_index: np.ndarray  # [low ratings] positions in movie_ids
    low_timestamps: np.ndarray  # [low ratings] int64, seconds
    max_length: int  # the most ratings of a window
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
        max_length: The most ratings of a window.
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
        low_timestamps=low_ratings["timestamp"].to_numpy(),
        max_length=max_length,
        catalogue_ids=genres["movie_id"].to_numpy(),
        catalogue_genres=flags / np.maximum(flags.sum(axis=1, keepdims=True), 1),
    )


def ratings_in_order(data: TrainingData, with_low_ratings: bool) -> Ratings:
    """Return the positives and, `with_low_ratings`, the low ratings.

    In one second, low ratings are older than positives, as in SEEN.
    """
    positives = data.user_index, data.movie_index, data.timestamps
    if not with_low_ratings:
        return Ratings(*positives, np.zeros(len(data.user_index), dtype=bool))
    low = data.low_user_index, data.low_movie_index, data.low_timestamps
    users, movies, times = map(np.concatenate, zip(low, positives))
    order = np.lexsort((times, users))  # it keeps the order of equal rows
    is_low = np.arange(len(users)) < len(data.low_user_index)
    return Ratings(users[order], movies[order], times[order], is_low[order])


def all_pairs(data: TrainingData, with_low_ratings: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the [n] indices of users and of movies of the positives, then of the low ratings."""
    if not with_low_ratings:
        return data.user_index, data.movie_index
    return (
        np.concatenate([data.user_index, data.low_user_index]),
        np.concatenate([data.movie_index, data.low_movie_index]),
    )


def pair_batches(
    data: TrainingData,
    *,
    low_weight: float,
    batch_size: int,
    num_negatives: int,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the pairs of one epoch: every positive and low rating once, in random order.

    Pairs from the start of the order fill up the last batch.

    Args:
        data: Positives and low ratings.
        low_weight: Weight of a low rating; a positive has 1. With 0 no low rating is a pair.
        batch_size: Pairs of a batch.
        num_negatives: Movies drawn uniformly for a batch.
        rng: Draws the order and the movies.

    Yields:
        [b, 2] int32 indices of users and movies, their [b] float32 weights, and the [negatives]
        int32 indices of the drawn movies, which may repeat.
    """
    pairs = np.column_stack(all_pairs(data, low_weight > 0)).astype(np.int32)
    weights = np.full(len(pairs), low_weight, dtype=np.float32)
    weights[: len(data.user_index)] = 1
    order = rng.permutation(len(pairs))
    order = np.resize(order, -(-len(order) // batch_size) * batch_size)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        negatives = rng.integers(0, len(data.movie_ids), num_negatives, dtype=np.int32)
        yield pairs[batch], weights[batch], negatives


def user_batches(
    data: TrainingData,
    *,
    low_weight: float,
    batch_size: int,
    num_sampled: int,
    rng: np.random.Generator,
) -> Batches:
    """Return a function that yields every user once, in random order, with all their positives.

    Users from the start of the order fill up the last batch.

    Args:
        data: Positives and low ratings.
        low_weight: Weight of a low rating; a positive has 1.
        batch_size: Users of a batch.
        num_sampled: Movies of a batch, sampled if the catalogue has more.
        rng: Draws the order and the samples.

    Yields:
        [b] int32 indices of users, and the [b, movies] float32 weights of their positives: 1,
        `low_weight` for low ratings, and 0 for other movies. Where the catalogue has more than
        `num_sampled` movies, the columns are a sample, each weight is multiplied by the weight of
        its movie, and two more arrays follow: the [movies] int32 indices of the sample, and their
        [movies] float32 weights.
    """
    shape = (len(data.user_ids), len(data.movie_ids))
    ones = np.ones(len(data.user_index), dtype=np.float32)
    positives = sp.csr_array((ones, (data.user_index, data.movie_index)), shape=shape)
    if low_weight:
        weights = np.full(len(data.low_user_index), low_weight, dtype=np.float32)
        pairs = (data.low_user_index, data.low_movie_index)
        positives = (positives + sp.csr_array((weights, pairs), shape=shape)).tocsr()
    size, count = batch_size, num_sampled
    if shape[1] > count:
        # Between uniform and by popularity: rare movies get their turn, popular ones mostly stay.
        probabilities = inclusion_probabilities(np.sqrt(np.bincount(data.movie_index)), count)

    def sample_movies(rows: sp.csr_array) -> tuple[np.ndarray, ...]:
        """Sample columns of [b, all movies] weights; return the arrays after the users'."""
        sample = systematic_sample(probabilities, count, rng)
        weights = (1 / probabilities[sample]).astype(np.float32)
        sample_index = np.full(shape[1], -1)
        sample_index[sample] = np.arange(count)
        row_index = np.repeat(np.arange(size), np.diff(rows.indptr))
        column_index = sample_index[rows.indices]
        is_sampled = column_index >= 0
        row_index, column_index = row_index[is_sampled], column_index[is_sampled]
        positive_weights = np.zeros((size, count), dtype=np.float32)
        positive_weights[row_index, column_index] = weights[column_index] * rows.data[is_sampled]
        return positive_weights, sample.astype(np.int32), weights

    def epoch() -> Iterator[tuple[np.ndarray, ...]]:
        order = rng.permutation(shape[0])
        order = np.resize(order, -(-len(order) // size) * size)
        for start in range(0, len(order), size):
            users = order[start : start + size].astype(np.int32)
            rows = positives[users]
            yield users, *(sample_movies(rows) if shape[1] > count else (rows.toarray(),))

    return epoch
