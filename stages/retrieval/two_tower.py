"""A user tower and a movie tower, shared by the id, genre and hard-negative retrievers."""

import functools
from typing import Literal, Self

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from pydantic import Field

from stages.models import towers
from stages.retrieval.data import Batches, TrainingData, all_pairs, pair_batches, user_batches
from stages.retrieval.initial_weights import normal
from stages.retrieval.ops import TensorFlowOps
from stages.retrieval.portable import logsumexp
from stages.retrieval.products import Rows, inner_products, total
from stages.retrieval.training import Retriever, TrainingParams, draw_seed
from stages.retrieval.worker import Arrays

# Adam updates the vectors of all users at every step; larger batches bound the cost of that.
MAX_STEPS = 128
IN_BATCH = "in_batch_softmax"


class TwoTowerParams(TrainingParams):
    """Regularization of the two towers, and the size of the softmax."""

    l2: float = Field(ge=0, le=1000)
    """Weight of the squared length of the vectors, per positive."""

    dropout: float = Field(ge=0, le=0.95)
    """Share of the coordinates of users' vectors that are dropped in training."""

    recency: float = Field(ge=0, le=10)
    """Exponent of a movie's weight in the recent half of a user's vector: that of the n-th newest
    positive is n**-recency (`stages.models.user_vectors`)."""

    num_sampled: int = Field(ge=2, le=10_000_000)
    """Movies sampled for a batch's softmax; a catalogue that has no more is used in full."""

    loss: Literal["softmax", "in_batch_softmax"]
    """What a positive competes with.

    `softmax`: all movies, or `num_sampled`, that are no positives of its user. `in_batch_softmax`:
    the movies of the other positives of the batch, and uniform negatives. It is the retrieval task
    of TensorFlow Recommenders (`tfrs.tasks.Retrieval`).
    """

    in_batch_size: int = Field(ge=2, le=1_000_000)
    """Positives of a batch of `in_batch_softmax`, which does not use `batch_size`."""

    num_uniform_negatives: int = Field(ge=0, le=1_000_000)
    """Movies drawn uniformly for a batch of `in_batch_softmax`, beside those of its positives."""

    temperature: float = Field(ge=0.001, le=1000)
    """Divisor of the scores in `in_batch_softmax`."""

    def scale_to(self, positives: int, users: int) -> Self:
        """Return the params with batches so large that an epoch has at most `MAX_STEPS`."""
        return self.model_copy(update={"batch_size": max(self.batch_size, -(-users // MAX_STEPS))})


class TwoTower(Retriever):
    """User and movie vectors whose inner product scores a positive, with a softmax over all movies.

    Each positive competes with all movies that are no positives of its user. A user's vector is
    the same for all their positives, so one row of scores serves them all, and a batch is a few
    large matrix products. From a large catalogue, each batch uses a sample in which the weight of
    a movie is 1 / the probability that it is sampled. With the loss `in_batch_softmax`, a positive
    competes with the movies of its batch instead, as in the task of TensorFlow Recommenders.
    """

    def __init__(
        self,
        data: TrainingData,
        params: TwoTowerParams,
        rng: np.random.Generator,
        extra: tuple[Arrays, Arrays] = ({}, {}),
        num_hard_negatives: int | None = None,
    ) -> None:
        """Draw the initial weights.

        Args:
            data: What the model learns from.
            params: The parameters.
            rng: Draws the weights, and the seed of TensorFlow's random numbers.
            extra: Further weights and constants.
            num_hard_negatives: Negatives with the highest scores to which the in-batch softmax of
                a positive is limited; None for all.
        """
        scale = params.dimension**-0.5
        weights = {
            "user": normal(rng, len(data.user_ids), params.dimension, scale=scale),
            "movie": normal(rng, len(data.movie_ids), params.dimension, scale=scale),
            "bias": np.zeros(len(data.movie_ids), dtype=np.float32),
        }
        constants = {
            "user_ids": data.user_ids,
            "movie_ids": data.movie_ids,
            "recency": np.array(params.recency, dtype=np.float32),
        }
        ops = TensorFlowOps(params.dropout, draw_seed(rng))
        super().__init__(weights | extra[0], constants | extra[1], ops)
        self.params = params
        if params.loss == IN_BATCH:
            _, movies = all_pairs(data, params.low_weight > 0)
            counts = np.bincount(movies, minlength=len(data.movie_ids))
            self.movie_shares = tf.constant(counts / len(movies), tf.float32)
            self.task = tfrs.tasks.Retrieval(
                loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True, reduction="none"),
                temperature=params.temperature,
                num_hard_negatives=num_hard_negatives,
                remove_accidental_hits=True,
            )

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Return the mean loss per positive.

        Args:
            w: Weights and constants.
            inputs: From `batches`: users, positive weights and, for a sample of the movies, the
                sampled movies and their weights. For the in-batch softmax see `pair_batches`.
        """
        if self.params.loss == IN_BATCH:
            return self.in_batch_loss(w, *inputs)
        users, positive_weights, *sample = inputs
        log_weights = None
        if sample:
            movie_index, movie_weights = sample
            w = with_movies(w, movie_index)
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
        log_sum = logsumexp(negatives)
        return total(positive_weights * tf.nn.softplus(log_sum - scores))

    def in_batch_loss(
        self, w: dict[str, tf.Tensor], pairs: tf.Tensor, weights: tf.Tensor, negatives: tf.Tensor
    ) -> tf.Tensor:
        """Return the mean loss per positive of the retrieval task of TensorFlow Recommenders.

        The movies of the positives, then the negatives, are the candidates of every positive.
        Scores are corrected by the logarithm of the share of a movie among the expected candidates
        (Yi et al. 2019), and a candidate that is the movie of the positive itself is no negative.
        Other positives of the user are.

        Args:
            w: Weights and constants.
            pairs: [b, 2] indices of users and movies.
            weights: [b] weights of the pairs.
            negatives: [negatives] indices of movies.
        """
        users, movie_index = tf.unstack(pairs, axis=1)
        candidates = tf.concat([movie_index, negatives], axis=0)
        w = with_movies(w, candidates)
        queries = tf.gather(w["user"], users)
        movies = towers.movie_vectors(w, self.ops)
        size, count = pairs.shape[0], negatives.shape[0]
        expected = size * tf.gather(self.movie_shares, candidates) + count / len(self.movie_shares)
        losses = self.task(
            Rows(towers.with_one(self.ops.dropout(queries), self.ops)),
            Rows(towers.with_bias(movies, w["bias"], self.ops)),
            sample_weight=weights,
            candidate_sampling_probability=expected / (size + count),
            candidate_ids=candidates,
            compute_metrics=False,
        )
        lengths = tf.reduce_sum(queries**2, axis=1) + tf.reduce_sum(movies[:size] ** 2, axis=1)
        penalty = 0.5 * self.params.l2 * tf.reduce_sum(weights * lengths)
        return (tf.reduce_sum(losses) + penalty) / tf.reduce_sum(weights)


def with_movies(w: dict[str, tf.Tensor], index: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return weights and constants whose movies are those at the positions [n] `index`."""
    names = [name for name in ("movie", "bias", "movie_genres") if name in w]
    return w | {name: tf.gather(w[name], index) for name in names}


def batches(data: TrainingData, params: TwoTowerParams, rng: np.random.Generator) -> Batches:
    """Return a function that yields the batches of one epoch.

    They are `pair_batches` for the in-batch softmax, else those of `user_batches`.
    """
    if params.loss == IN_BATCH:
        return functools.partial(
            pair_batches,
            data,
            low_weight=params.low_weight,
            batch_size=params.in_batch_size,
            num_negatives=params.num_uniform_negatives,
            rng=rng,
        )
    return user_batches(
        data,
        low_weight=params.low_weight,
        batch_size=params.batch_size,
        num_sampled=params.num_sampled,
        rng=rng,
    )
