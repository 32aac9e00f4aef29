"""What a retriever learns from: positives, low ratings, genres, and windows of histories."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.data.pairs import cumcount_and_size
from stages.models import towers
from stages.retrieval.packing import pack
from stages.retrieval.sampling import inclusion_probabilities, systematic_sample

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


def windows(data: TrainingData, length: int, rng: np.random.Generator) -> np.ndarray:
    """Cut each user's positives into windows, so that every positive but the first is a target.

    A user's first window ends at the newest positive. Where older positives are left, the second
    ends a random offset of 1 to `length` rows before the newest, and each further one `length`
    rows before the previous one. For example, with `length` 2, so windows of 3 rows, and offset 1:

        user  rows of data  windows
        A     0 1           [-1, 0, 1]
        B     2 3 4 5       [ 3, 4, 5]  the newest positives
                            [ 2, 3, 4]  ends 1 row before the newest

    Returns:
        [n, length + 1] indices of rows of `data`, -1 as padding on the left.
    """
    ends = np.flatnonzero(np.append(data.user_index[1:] != data.user_index[:-1], True)) + 1
    counts = np.diff(ends, prepend=0)
    starts = ends - counts
    is_long = counts > length + 1
    offsets = np.where(is_long, rng.integers(1, length + 1, len(counts)), counts)
    num_windows = 1 + np.maximum(-(-(counts - offsets - 1) // length), 0)
    users = np.repeat(np.arange(len(ends)), num_windows)
    number, _ = cumcount_and_size(users)  # of a window among its user's, from 0
    rows_after = np.where(number == 0, 0, offsets[users] + (number - 1) * length)
    position = (counts[users] - rows_after)[:, None] - np.arange(length + 1, 0, -1)
    rows = starts[users][:, None] + np.maximum(position, 0)
    return np.where(position >= 0, rows, -1)


def packed_rows(data: TrainingData, window_rows: np.ndarray) -> np.ndarray:
    """Put the windows side by side into rows of `length` positions, without their padding.

    A position has a movie and its next movie. Windows of a single movie are left out.

    Args:
        data: The positives.
        window_rows: [n, length + 1] from `windows`.

    Returns:
        [rows, 5, length] int32: movies and their time gaps, next movies, positions in the window
        (the last one is `length` - 1), and the window, by a number that no other window of the row
        has. At positions that are left, the movies and the window are -1, and the others 0.
    """
    window_rows = window_rows[window_rows[:, -2] >= 0]
    length = window_rows.shape[1] - 1
    mask = window_rows >= 0
    movies = data.movie_index[window_rows]
    gaps = towers.time_gaps(data.timestamps[window_rows], mask)
    has_next = mask[:, :-1]
    lengths = has_next.sum(axis=1)
    row, offset = pack(lengths, length)
    window, position = has_next.nonzero()
    column = offset[window] + position - (length - lengths[window])
    packed = np.zeros((row.max(initial=0) + 1, 5, length), dtype=np.int32)
    packed[:, [0, 2, 4]] = -1
    values = movies[:, :-1][has_next], gaps[:, :-1][has_next], movies[:, 1:][has_next]
    for channel, channel_values in enumerate((*values, position, offset[window])):
        packed[row[window], channel, column] = channel_values
    return packed
