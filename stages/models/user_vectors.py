"""The vectors of users, as serving and every stage compute them.

A sequence tower encodes a history. A model with one vector per user looks it up, and folds in the
users whom it was not trained on: a linear map takes the mean vector of a user's positives to the
user's vector. The map is fitted by one ridge regression over the users of the training, and
applied to the history, which has the newest positives.
"""

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.models.top_k import interaction_matrix
from stages.models.towers import (
    Weights,
    encode,
    history_matrices,
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
        interactions: [n, movies] ones; the columns are the model's `movie_ids`.
    """
    counts = np.maximum(interactions.sum(axis=1), 1)[:, None]
    return (interactions @ movie_vectors(arrays)) / counts


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


def fold_in(arrays: Weights, histories: pl.DataFrame) -> np.ndarray:
    """Return the [n, d] float32 vectors of users from their HISTORIES, sorted by user_id."""
    users = histories["user_id"].to_numpy()
    pairs = histories.select("user_id", movie_id="history").explode("movie_id")
    interactions = interaction_matrix(pairs, users, arrays["movie_ids"])
    return (mean_vectors(arrays, interactions) @ arrays["fold_in"]).astype(np.float32)


def user_embeddings(arrays: Weights, histories: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the [n] ids and the [n, d + 1] vectors of the users of HISTORIES.

    Args:
        arrays: A model; one with vectors of users needs the map of `with_fold_in` for new users.
        histories: HISTORIES, sorted by user_id.
    """
    users = histories["user_id"].to_numpy()
    if "user" in arrays:
        source_users = histories["source_user_id"].to_numpy()
        index = np.searchsorted(arrays["user_ids"], source_users)
        index = index.clip(max=len(arrays["user_ids"]) - 1)
        is_new = arrays["user_ids"][index] != source_users
        vectors = arrays["user"][index]
        if is_new.any():
            vectors[is_new] = fold_in(arrays, histories.filter(pl.Series(is_new)))
        return users, with_one(vectors)
    ids, gaps = history_matrices(histories, arrays["movie_ids"], len(arrays["position"]))
    heads, blocks = int(arrays["num_heads"]), int(arrays["num_blocks"])
    weights = without_genres(arrays)  # once, not for each batch of users

    def encode_batch(start: int) -> np.ndarray:
        batch = slice(start, start + ENCODE_BATCH_USERS)
        return encode(weights, ids[batch], gaps[batch], heads, blocks, last_only=True)[:, 0]

    vectors = parallel_map(encode_batch, range(0, len(ids), ENCODE_BATCH_USERS))
    return users, with_one(np.concatenate(list(vectors)))
