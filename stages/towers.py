"""The towers' mathematics, once: NumPy runs it to serve, TensorFlow to train.

A model is a dict of float32 arrays by name. Every function takes the operations it needs as
`ops`: NumPy's by default, TensorFlow's (`stages.retrieval.ops`) in training, so that what is
served is what was trained.
"""

from typing import Any

import numpy as np
import polars as pl

from stages.engine import over

Weights = dict[str, Any]
NORM_EPSILON = 1e-6
TIME_GAPS = 32
USERS_AT_ONCE = 64  # so that a batch stays in the processor's cache: four times as fast as 2,048


class NumpyOps:
    """What NumPy spells differently from TensorFlow."""

    take = staticmethod(lambda table, ids: table[ids])
    reshape = staticmethod(np.reshape)
    transpose = staticmethod(np.transpose)
    maximum = staticmethod(np.maximum)
    concat = staticmethod(np.concatenate)
    ones_like = staticmethod(np.ones_like)

    @staticmethod
    def float32(x: np.ndarray) -> np.ndarray:
        """As float32."""
        return x.astype(np.float32)

    @staticmethod
    def where(condition: np.ndarray, x: np.ndarray, y: float) -> np.ndarray:
        """`x` where the condition holds, elsewhere `y`."""
        return np.where(condition, x, np.float32(y))

    @staticmethod
    def mean(x: np.ndarray) -> np.ndarray:
        """Over the last axis, which is kept."""
        return x.mean(axis=-1, keepdims=True)

    @staticmethod
    def rsqrt(x: np.ndarray) -> np.ndarray:
        """1 / sqrt(x)."""
        return 1 / np.sqrt(x)

    @staticmethod
    def softmax(x: np.ndarray) -> np.ndarray:
        """Over the last axis."""
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    @staticmethod
    def sigmoid(x: np.ndarray) -> np.ndarray:
        """1 / (1 + exp(-x))."""
        with np.errstate(over="ignore"):  # then it is 0
            return 1 / (1 + np.exp(-x))

    @staticmethod
    def silu(x: np.ndarray) -> np.ndarray:
        """x * sigmoid(x)."""
        with np.errstate(over="ignore"):
            return x / (1 + np.exp(-x))

    @staticmethod
    def dropout(x: np.ndarray) -> np.ndarray:
        """Nothing is dropped when serving."""
        return x

    dropout_rows = dropout


def movie_vectors(w: Weights, ops: Any = NumpyOps) -> Any:
    """[movies, d] vectors: a movie's own one plus, where the model has genres, those of its genres.

    Each movie's genre vectors are averaged, so that many genres do not make it louder.
    """
    if "genre" not in w:
        return w["movie"]
    return ops.dropout_rows(w["movie"]) + w["movie_genres"] @ w["genre"]


def with_bias(vectors: Any, bias: Any, ops: Any = NumpyOps) -> Any:
    """Append each movie's bias as one more coordinate; users have a 1 there."""
    return ops.concat([vectors, ops.reshape(bias, (-1, 1))], 1)


def with_one(vectors: Any, ops: Any = NumpyOps) -> Any:
    """Append the coordinate 1 that meets a movie's bias in the inner product."""
    return ops.concat([vectors, ops.ones_like(vectors[:, :1])], 1)


def layer_norm(x: Any, w: Weights, name: str, ops: Any) -> Any:
    """Layer normalisation over the last axis (Ba et al. 2016)."""
    centred = x - ops.mean(x)
    scale = ops.rsqrt(ops.mean(centred * centred) + NORM_EPSILON)
    return centred * scale * w[f"{name}_gain"] + w[f"{name}_bias"]


def time_gaps(times: np.ndarray, real: np.ndarray) -> np.ndarray:
    """[n, length] int32: log2 of 1 + the seconds since the movie before, rounded down.

    0 at the first movie of a row. `times` are [n, length] seconds, `real` where a movie is.
    """
    passed = np.diff(times, axis=1, prepend=times[:, :1])
    known = real & np.roll(real, 1, axis=1)
    known[:, 0] = False
    gaps = np.floor(np.log2(np.where(known, np.maximum(passed, 0), 0) + 1))
    return np.minimum(gaps, TIME_GAPS - 1).astype(np.int32)


def residual(x: Any, change: Any, w: Weights, name: str, ops: Any) -> Any:
    """x + `change`, or with a gate as much of it as x lets through (LiGR, Borisyuk et al. 2025)."""
    change = ops.dropout(change)
    return x + (change * ops.sigmoid(x @ w[name]) if name in w else change)


def encode(
    w: Weights,
    ids: Any,
    gaps: Any,
    heads: int,
    blocks: int,
    ops: Any = NumpyOps,
    last: bool = False,
) -> Any:
    """A causal transformer over liked movies (after SASRec, Kang and McAuley 2018).

    Args:
        w: Weights; `position` is [length, d].
        ids: [n, length] movie numbers, oldest first, -1 as padding on the left.
        gaps: [n, length] from `time_gaps`; not used by a model without `gap` weights.
        heads: Attention heads; they share d.
        blocks: Pre-norm blocks of attention and gated feed-forward.
        ops: What computes.
        last: Whether only the last place is wanted, which saves most of the last block.

    Returns:
        [n, length, d]: at each place the user's vector after that movie; with `last` [n, 1, d].
    """
    length, d = w["position"].shape
    real = ids >= 0
    table = movie_vectors(w, ops)
    x = ops.take(table, ops.maximum(ids, 0)) * np.float32(np.sqrt(d)) + w["position"]
    if "gap" in w:
        x = x + ops.take(w["gap"], gaps)
    x = ops.dropout(x) * ops.float32(real)[:, :, None]
    earlier = np.tril(np.ones((length, length), dtype=bool))
    # A padded place may look at itself: a row without any key has no softmax.
    allowed = (earlier[None] & real[:, None, :]) | np.eye(length, dtype=bool)[None]
    for b in range(blocks):
        h = layer_norm(x, w, f"block{b}_attention", ops)
        wanted = slice(length - 1 if last and b == blocks - 1 else 0, length)
        places = wanted.stop - wanted.start

        def split(part: str, h: Any, places: int, b: int = b) -> Any:
            whole = h @ w[f"block{b}_{part}"]
            return ops.transpose(ops.reshape(whole, (-1, places, heads, d // heads)), (0, 2, 1, 3))

        k, v = split("key", h, length), split("value", h, length)
        q = split("query", h[:, wanted], places)
        x = x[:, wanted]
        scores = q @ ops.transpose(k, (0, 1, 3, 2)) * np.float32((d // heads) ** -0.5)
        weights = ops.softmax(ops.where(allowed[:, None, wanted], scores, -1e9))
        mixed = ops.transpose(ops.dropout(weights) @ v, (0, 2, 1, 3))
        mixed = ops.reshape(mixed, (-1, places, d)) @ w[f"block{b}_output"]
        x = residual(x, mixed, w, f"block{b}_attention_gate", ops)
        h = layer_norm(x, w, f"block{b}_feed", ops)
        h = ops.silu(h @ w[f"block{b}_gate"]) * (h @ w[f"block{b}_up"])
        x = residual(x, h @ w[f"block{b}_down"], w, f"block{b}_feed_gate", ops)
    return layer_norm(x, w, "final", ops)


def serve_movies(arrays: Weights) -> tuple[np.ndarray, np.ndarray]:
    """[movies] ids and [movies, d + 1] vectors; with genres, of movies nobody has liked too."""
    if "genre" not in arrays:
        return arrays["movie_ids"], with_bias(arrays["movie"], arrays["bias"])
    vectors = arrays["catalogue_genres"] @ arrays["genre"]
    # A movie without a liking has no vector of its own, and no better bias than the lowest.
    bias = np.full(len(vectors), arrays["bias"].min(), dtype=np.float32)
    known = np.searchsorted(arrays["catalogue_ids"], arrays["movie_ids"])
    vectors[known] += arrays["movie"]
    bias[known] = arrays["bias"]
    return arrays["catalogue_ids"], with_bias(vectors, bias)


def without_genres(arrays: Weights) -> Weights:
    """The same tower, with the genres' part of the movies' vectors added to them once for all."""
    rest = {name: value for name, value in arrays.items() if name != "genre"}
    return rest | {"movie": movie_vectors(arrays)}


def serve_users(arrays: Weights, histories: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """[users] ids and [users, d + 1] vectors of the users of HISTORIES that the model knows.

    A model with a user tower of ids knows the users it was trained on; the sequence tower
    knows everybody who liked a movie that it knows.
    """
    users = histories["user_id"].to_numpy()
    if "user" in arrays:
        place = np.searchsorted(arrays["user_ids"], users).clip(max=len(arrays["user_ids"]) - 1)
        known = arrays["user_ids"][place] == users
        return users[known], with_one(arrays["user"][place[known]])
    ids, gaps = history_matrices(histories, arrays["movie_ids"], len(arrays["position"]))
    heads, blocks = int(arrays["heads"]), int(arrays["blocks"])
    plain = without_genres(arrays)  # once, not for each batch of users

    def vectors(start: int) -> np.ndarray:
        part = slice(start, start + USERS_AT_ONCE)
        return encode(plain, ids[part], gaps[part], heads, blocks, last=True)[:, 0]

    parts = over(vectors, range(0, len(ids), USERS_AT_ONCE))
    return users, with_one(np.concatenate(list(parts)))


def history_matrices(
    histories: pl.DataFrame, movie_ids: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """[users, length] movie numbers, newest last, and their `time_gaps`.

    -1 stands for padding and for movies that the model does not know.
    """
    lists = histories.select(pl.col("history", "timestamps").list.tail(length))
    sizes = lists["history"].list.len().to_numpy().astype(np.int64)
    flat = lists["history"].explode().drop_nulls().to_numpy()
    place = np.searchsorted(movie_ids, flat).clip(max=len(movie_ids) - 1)
    real = np.arange(length) >= length - sizes[:, None]
    matrix = np.full(real.shape, -1, dtype=np.int32)
    matrix[real] = np.where(movie_ids[place] == flat, place, -1)
    times = np.zeros(real.shape, dtype=np.int64)
    times[real] = lists["timestamps"].explode().drop_nulls().to_numpy()
    return matrix, time_gaps(times, real)
