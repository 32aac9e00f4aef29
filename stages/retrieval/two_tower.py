"""A user tower and a movie tower, shared by the id, genre and hard-negative retrievers."""

from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
from pydantic import Field

from stages.models import towers
from stages.retrieval.data import TrainingData
from stages.retrieval.ops import TensorFlowOps
from stages.retrieval.products import inner_products, total
from stages.retrieval.training import Retriever, TrainingParams, draw_seed, normal
from stages.retrieval.worker import Arrays

# Adam updates the vectors of all users at every step; larger batches bound the cost of that.
MAX_STEPS = 128
Batches = Callable[[], Iterator[tuple[np.ndarray, ...]]]


class TwoTowerParams(TrainingParams):
    """Regularization of the two towers, and the size of the softmax."""

    l2: float = Field(ge=0, le=1000)
    """Weight of the squared length of the vectors, per positive."""

    dropout: float = Field(ge=0, le=0.95)
    """Share of the coordinates of users' vectors that are dropped in training."""

    low_weight: float = Field(ge=0, le=1)
    """Weight of a low rating, which is learned like a positive; a positive has 1. With 0 none is.

    A low-rated movie is at least one that its user chose to watch.
    """

    num_sampled: int = Field(ge=2, le=10_000_000)
    """Movies sampled for a batch's softmax; a catalogue that has no more is used in full."""

    def scale_to(self, positives: int, users: int) -> Self:
        """Return the params with batches so large that an epoch has at most `MAX_STEPS`."""
        return self.model_copy(update={"batch_size": max(self.batch_size, -(-users // MAX_STEPS))})


class TwoTower(Retriever):
    """User and movie vectors whose inner product scores a positive, with a softmax over all movies.

    Each positive competes with all movies that are no positives of its user. A user's vector is
    the same for all their positives, so one row of scores serves them all, and a batch is a few
    large matrix products. From a large catalogue, each batch uses a sample in which the weight of
    a movie is 1 / the probability that it is sampled.
    """

    def __init__(
        self,
        data: TrainingData,
        params: TwoTowerParams,
        rng: np.random.Generator,
        extra: tuple[Arrays, Arrays] = ({}, {}),
    ) -> None:
        """Draw the initial weights; `extra` has further weights and constants."""
        scale = params.dimension**-0.5
        weights = {
            "user": normal(rng, len(data.user_ids), params.dimension, scale=scale),
            "movie": normal(rng, len(data.movie_ids), params.dimension, scale=scale),
            "bias": np.zeros(len(data.movie_ids), dtype=np.float32),
        }
        constants = {"user_ids": data.user_ids, "movie_ids": data.movie_ids}
        ops = TensorFlowOps(params.dropout, draw_seed(rng))
        super().__init__(weights | extra[0], constants | extra[1], ops)
        self.params = params

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Return the mean loss per positive.

        Args:
            w: Weights and constants.
            inputs: From `batches`: users, positive weights and, for a sample of the movies, the
                sampled movies and their weights.
        """
        users, positive_weights, *sample = inputs
        log_weights = None
        if sample:
            movie_index, movie_weights = sample
            names = [name for name in ("movie", "bias", "movie_genres") if name in w]
            w = w | {name: tf.gather(w[name], movie_index) for name in names}
            log_weights = tf.math.log(movie_weights)
        queries = tf.gather(w["user"], users)
        movies = towers.movie_vectors(w, self.ops)
        scores = inner_products(
            towers.with_one(self.ops.dropout(queries), self.ops),
            towers.with_bias(movies, w["bias"], self.ops),
        )
        user_lengths = tf.reduce_sum(queries**2, axis=1)[:, None]
        lengths = user_lengths + tf.reduce_sum(movies**2, axis=1)[None]
        penalty = 0.5 * self.params.l2 * total(positive_weights * lengths)
        loss = self.positive_loss(scores, positive_weights, log_weights)
        return (loss + penalty) / total(positive_weights)

    def positive_loss(
        self,
        scores: tf.Tensor,
        positive_weights: tf.Tensor,
        log_weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Sum over positives, with score s, of -log(exp(s) / (exp(s) + sum over negatives)).

        All movies that are no positives of the user are negatives. For example, the loss of scores
        [2, 5, 3], of which the first two are positives, is softplus(3 - 2) + softplus(3 - 5).

        Args:
            scores: [b, movies] of users and all movies, or the sampled ones.
            positive_weights: [b, movies] weights of positives, else 0.
            log_weights: [movies] logarithms of the movies' weights; None if all weights are 1.
        """
        logits = scores if log_weights is None else scores + log_weights
        negatives = tf.where(positive_weights > 0, -1e9, logits)
        log_sum = tf.reduce_logsumexp(negatives, axis=1, keepdims=True)
        return total(positive_weights * tf.nn.softplus(log_sum - scores))


def inclusion_probabilities(sizes: np.ndarray, count: int) -> np.ndarray:
    """[n] probabilities proportional to `sizes`, but at most 1, that sum to `count`.

    For example, `sizes` [6, 1, 1] and `count` 2 give [1, 0.5, 0.5].

    Args:
        sizes: [n] positive numbers, n >= `count`.
        count: Size of the sample.
    """
    is_certain = np.zeros(len(sizes), dtype=bool)
    while True:
        share = (count - is_certain.sum()) / max(sizes[~is_certain].sum(), 1e-300)
        reaches_one = ~is_certain & (share * sizes >= 1)
        if not reaches_one.any():
            return np.where(is_certain, 1.0, share * sizes)
        is_certain |= reaches_one


def systematic_sample(
    probabilities: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw [count] different indices, each with its inclusion probability (Madow 1949)."""
    order = rng.permutation(len(probabilities))
    ends = np.cumsum(probabilities[order])
    picks = np.searchsorted(ends, rng.random() + np.arange(count), side="right")
    return order[picks.clip(max=len(order) - 1)]


def batches(data: TrainingData, params: TwoTowerParams, rng: np.random.Generator) -> Batches:
    """Return a function that yields the batches of one epoch.

    An epoch has every user once, in random order; users from its start fill up the last batch.

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
    if params.low_weight:
        weights = np.full(len(data.low_user_index), params.low_weight, dtype=np.float32)
        pairs = (data.low_user_index, data.low_movie_index)
        positives = (positives + sp.csr_array((weights, pairs), shape=shape)).tocsr()
    size, count = params.batch_size, params.num_sampled
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
