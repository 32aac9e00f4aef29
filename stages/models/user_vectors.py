"""The vectors of users, as serving and every stage compute them.

A sequence tower encodes the newest ratings. A model that learns one vector per user also has a
linear map from the mean vector of a user's positives to the user's vector, fitted by one ridge
regression over the users of the training. The vector of a user is the mean of two parts:

    long-term  the learned vector; for a user whom the model was not trained on, the map of the mean
               vector of the history
    recent     the map of the mean in which the n-th newest movie has the weight n**-recency
"""

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.models.rating_matrices import history_matrix, rating_matrices
from stages.models.top_k import interaction_matrix
from stages.models.towers import (
    Weights,
    encode,
    movie_vectors,
    with_one,
    without_genres,
)
from stages.parallel.executor import parallel_map

ENCODE_BATCH_USERS = 64  # fits the processor's cache: four times as fast as 2,048
RIDGE = 1e-3  # penalty of the regression, relative to the mean of the Gram matrix's diagonal


def mean_vectors(arrays: Weights, interactions: sp.csr_array) -> np.ndarray:
    """Return the [n, d] mean vectors of the movies of each row; zeros for a row without any.

    Args:
        arrays: A model.
        interactions: [n, movies] weights; the columns are the model's `movie_ids`.
    """
    sums = interactions.sum(axis=1)[:, None]
    return (interactions @ movie_vectors(arrays)) / np.where(sums > 0, sums, 1)


def with_fold_in(arrays: Weights, positives: pl.DataFrame) -> Weights:
    """Return a model with the [d, d] float32 map `fold_in`, if it has one vector per user.

    Args:
        arrays: A model.
        positives: user_id and movie_id of the positives that it was trained on.
    """
    if "user" not in arrays:
        return arrays
    interactions = interaction_matrix(positives, arrays["user_ids"], arrays["movie_ids"])
    means = mean_vectors(arrays, interactions).astype(np.float64)
    gram = means.T @ means
    # Above zero for a model whose vectors are all zero, so that the equations have a solution.
    penalty = max(RIDGE * np.trace(gram) / len(gram), 1e-9) * np.eye(len(gram))
    fold_in = np.linalg.solve(gram + penalty, means.T @ arrays["user"].astype(np.float64))
    return arrays | {"fold_in": fold_in.astype(np.float32)}


def fold_in(arrays: Weights, histories: pl.DataFrame, recency: float) -> np.ndarray:
    """Return the [n, d] float64 vectors of users from their HISTORIES.

    Float64, because a float32 product depends on the number of users.

    Args:
        arrays: A model with the map of `with_fold_in`.
        histories: HISTORIES.
        recency: Exponent of the weights of older movies; with 0 all are equal.
    """
    index = history_matrix(histories, arrays["movie_ids"])
    users, columns = (index >= 0).nonzero()
    weights = np.arange(index.shape[1], 0, -1, dtype=np.float32) ** -np.float32(recency)
    entries = weights[columns], (users, index[users, columns])
    interactions = sp.csr_array(entries, shape=(len(index), len(arrays["movie_ids"])))
    means = mean_vectors(arrays, interactions)
    return means.astype(np.float64) @ arrays["fold_in"].astype(np.float64)


def user_embeddings(
    arrays: Weights, histories: pl.DataFrame, seen: pl.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Return the [n] ids and the [n, d + 1] vectors of the users of HISTORIES.

    Args:
        arrays: A model; one with vectors of users needs the map of `with_fold_in`.
        histories: HISTORIES, sorted by user_id.
        seen: SEEN of these users, which a sequence tower encodes.
    """
    users = histories["user_id"].to_numpy()
    if "user" in arrays:
        source_users = histories["source_user_id"].to_numpy()
        index = np.searchsorted(arrays["user_ids"], source_users)
        index = index.clip(max=len(arrays["user_ids"]) - 1)
        is_new = arrays["user_ids"][index] != source_users
        long_term = arrays["user"][index].astype(np.float64)
        if is_new.any():
            long_term[is_new] = fold_in(arrays, histories.filter(pl.Series(is_new)), 0)
        recent = fold_in(arrays, histories, float(arrays["recency"]))
        return users, with_one(((long_term + recent) / 2).astype(np.float32))
    ids, gaps, is_low = rating_matrices(seen, users, arrays)
    heads, blocks = int(arrays["num_heads"]), int(arrays["num_blocks"])
    weights = without_genres(arrays)  # once, not for each batch of users

    def encode_batch(start: int) -> np.ndarray:
        batch = slice(start, start + ENCODE_BATCH_USERS)
        rows = ids[batch], gaps[batch], is_low[batch]
        return encode(weights, *rows, heads, blocks, last_only=True)[:, 0]

    vectors = parallel_map(encode_batch, range(0, len(ids), ENCODE_BATCH_USERS))
    return users, with_one(np.concatenate(list(vectors)))
