"""A tower of users and one of movies: what the id, genre and hard-negative retrievers share."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Annotated, Self

import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from stages import towers
from stages.common.params import Range
from stages.retrieval.ops import TensorFlowOps
from stages.retrieval.training import (
    Arrays,
    Retriever,
    TrainingData,
    TrainingParams,
    draw_seed,
    normal,
)

# Adam moves the vectors of all users at every step; larger batches bound what that costs.
MOST_STEPS = 128
Batches = Callable[[], Iterator[tuple[np.ndarray, ...]]]


@dataclasses.dataclass(frozen=True)
class TwoTowerParams(TrainingParams):
    """`l2`: weight of the vectors' squared length, per liking; `dropout`: share of the users'
    coordinates that are dropped in training; `movies_at_once`: how many movies are drawn for a
    batch to stand for all of them; a catalogue that is no larger is used in full.
    """

    l2: Annotated[float, Range(0, 1000)]
    dropout: Annotated[float, Range(0, 0.95)]
    movies_at_once: Annotated[int, Range(2, 10_000_000)]

    def sized(self, likings: int, users: int) -> Self:
        """With batches so large that an epoch has no more than `MOST_STEPS`."""
        return dataclasses.replace(self, batch_size=max(self.batch_size, -(-users // MOST_STEPS)))


class TwoTower(Retriever):
    """User and movie vectors whose inner product scores a liking, with a softmax over all movies.

    Each liking competes with all movies that its user does not like; those the user likes too
    are no negatives. A user's vector is the same for all their likings, so one row of scores
    per user serves them all: few large products. Of a large catalogue each batch sees a sample,
    in which a movie weighs as much as 1 / the probability that it is drawn.
    """

    def __init__(
        self,
        data: TrainingData,
        params: TwoTowerParams,
        rng: np.random.Generator,
        extra: tuple[Arrays, Arrays] = ({}, {}),
    ) -> None:
        scale = params.dimension**-0.5
        trainable = {
            "user": normal(rng, len(data.user_ids), params.dimension, scale=scale),
            "movie": normal(rng, len(data.movie_ids), params.dimension, scale=scale),
            "bias": np.zeros(len(data.movie_ids), dtype=np.float32),
        }
        fixed = {"user_ids": data.user_ids, "movie_ids": data.movie_ids}
        ops = TensorFlowOps(params.dropout, draw_seed(rng))
        super().__init__(trainable | extra[0], fixed | extra[1], ops)
        self.params = params

    def batch_loss(self, w: dict[str, tf.Tensor], inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Mean loss per liking.

        Args:
            w: Weights and constants.
            inputs: [b] user numbers; their [b, movies] likings, the movie's weight or 0; for a
                sample of movies also their [movies] numbers and weights.
        """
        users, liked, *drawn = inputs
        shift = None
        if drawn:
            rows = [name for name in ("movie", "bias", "movie_genres") if name in w]
            w = w | {name: tf.gather(w[name], drawn[0]) for name in rows}
            shift = tf.math.log(drawn[1])
        query = tf.gather(w["user"], users)
        movies = towers.movie_vectors(w, self.ops)
        scores = tf.matmul(
            towers.with_one(self.ops.dropout(query), self.ops),
            towers.with_bias(movies, w["bias"], self.ops),
            transpose_b=True,
        )
        size = tf.reduce_sum(query**2, axis=1)[:, None] + tf.reduce_sum(movies**2, axis=1)[None]
        shrink = 0.5 * self.params.l2 * tf.reduce_sum(liked * size)
        return (self.liking_loss(scores, liked, shift) + shrink) / tf.reduce_sum(liked)

    def liking_loss(
        self, scores: tf.Tensor, liked: tf.Tensor, shift: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Sum of -log of exp(s) / (exp(s) + sum over unliked movies), over likings of score s.

        Args:
            scores: [b, movies] of all movies, or of those drawn.
            liked: [b, movies] weights of likings, else 0.
            shift: [movies] logs of the movies' weights; None if all are 1.
        """
        others = scores if shift is None else scores + shift
        unliked = tf.reduce_logsumexp(tf.where(liked > 0, -1e9, others), axis=1, keepdims=True)
        return tf.reduce_sum(liked * tf.nn.softplus(unliked - scores))


def inclusion(sizes: np.ndarray, count: int) -> np.ndarray:
    """[n] probabilities of being drawn, proportional to `sizes` but at most 1; they sum to `count`.

    `sizes` are above 0 and no fewer than `count`.
    """
    certain = np.zeros(len(sizes), dtype=bool)
    while True:
        share = (count - certain.sum()) / max(sizes[~certain].sum(), 1e-300)
        more = ~certain & (share * sizes >= 1)
        if not more.any():
            return np.where(certain, 1.0, share * sizes)
        certain |= more


def draw(chances: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` different places, each with its probability from `inclusion` (Madow 1949)."""
    order = rng.permutation(len(chances))
    ends = np.cumsum(chances[order])
    picks = np.searchsorted(ends, rng.random() + np.arange(count), side="right")
    return order[picks.clip(max=len(order) - 1)]


def batches(data: TrainingData, params: TwoTowerParams, rng: np.random.Generator) -> Batches:
    """A source of epochs: every user once, shuffled; the last batch is filled up with others."""
    shape = (len(data.user_ids), len(data.movie_ids))
    ones = np.ones(len(data.users), dtype=np.float32)
    likings = sp.csr_array((ones, (data.users, data.movies)), shape=shape)
    size, count = params.batch_size, params.movies_at_once
    if shape[1] > count:
        # Between uniform and by popularity: rare movies get their turn, popular ones mostly stay.
        chances = inclusion(np.sqrt(np.bincount(data.movies)), count)

    def sample(liked: sp.csr_array) -> tuple[np.ndarray, ...]:
        """Likings of drawn movies as a dense matrix of weights; the movies; their weights."""
        drawn = draw(chances, count, rng)
        weights = (1 / chances[drawn]).astype(np.float32)
        place = np.full(shape[1], -1)
        place[drawn] = np.arange(count)
        columns = place[liked.indices]
        rows = np.repeat(np.arange(size), np.diff(liked.indptr))
        held = columns >= 0
        dense = np.zeros((size, count), dtype=np.float32)
        dense[rows[held], columns[held]] = weights[columns[held]]
        return dense, drawn.astype(np.int32), weights

    def epoch() -> Iterator[tuple[np.ndarray, ...]]:
        order = rng.permutation(shape[0])
        order = np.resize(order, -(-len(order) // size) * size)
        for start in range(0, len(order), size):
            users = order[start : start + size].astype(np.int32)
            liked = likings[users]
            yield users, *(sample(liked) if shape[1] > count else (liked.toarray(),))

    return epoch
