"""The computation of users' and movies' vectors: NumPy runs it to serve, TensorFlow to train.

A model is a dict of arrays by name, its weights float32. Every function takes the operations as
`ops`: NumPy's by default, TensorFlow's (`stages.retrieval.ops`) in training. So serving runs the
same code as training.
"""

from typing import Any, NamedTuple

import numpy as np

from stages.models.numpy_ops import NumpyOps

Weights = dict[str, Any]
NORM_EPSILON = 1e-6


class Packing(NamedTuple):
    """Where the histories are that share a row.

    `positions` are [n, length] positions in a history, of which the last one is length - 1.
    `histories` are [n, length] numbers, different for the histories of a row.
    """

    positions: Any
    histories: Any


def movie_vectors(w: Weights, ops: Any = NumpyOps) -> Any:
    """[movies, d] vectors: a movie's own vector plus, in a model with genres, its genres' part.

    That part is the mean of the genres' vectors, so that a movie with many genres does not get a
    longer vector.
    """
    if "genre" not in w:
        return w["movie"]
    return ops.dropout_rows(w["movie"]) + ops.matmul(w["movie_genres"], w["genre"])


def with_bias(vectors: Any, bias: Any, ops: Any = NumpyOps) -> Any:
    """Append each movie's bias as one more coordinate; users have a 1 there."""
    return ops.concat([vectors, ops.reshape(bias, (-1, 1))], 1)


def with_one(vectors: Any, ops: Any = NumpyOps) -> Any:
    """Append the coordinate 1, which meets a movie's bias in the inner product."""
    return ops.concat([vectors, ops.ones_like(vectors[:, :1])], 1)


def layer_norm(x: Any, w: Weights, name: str, ops: Any) -> Any:
    """Layer normalisation over the last axis (Ba et al. 2016)."""
    deviation = x - ops.mean(x)
    scale = ops.rsqrt(ops.mean(deviation * deviation) + NORM_EPSILON)
    return deviation * scale * w[f"{name}_gain"] + w[f"{name}_bias"]


def residual(x: Any, change: Any, w: Weights, name: str, ops: Any) -> Any:
    """Add `change` to `x`; in a model with gates, scaled by a gate that depends on `x`.

    The gate is that of LiGR (Borisyuk et al. 2025).
    """
    change = ops.dropout(change)
    return x + (change * ops.sigmoid(ops.matmul(x, w[name])) if name in w else change)


def split_heads(x: Any, length: int, heads: int, ops: Any) -> Any:
    """[n, length, d] -> [n, heads, length, d / heads]."""
    return ops.transpose(ops.reshape(x, (-1, length, heads, x.shape[-1] // heads)), (0, 2, 1, 3))


def distance_bias(table: Any, ops: Any) -> Any:
    """[heads, length, length] biases of attention scores, by the distance of two positions.

    They are the relative position biases of T5 (Raffel et al. 2020), one for each distance. For
    example, a head whose column of `table` is [3, 1, 2] has the rows [3, ., .], [1, 3, .] and
    [2, 1, 3]; no position attends to a later one, so those biases have no effect.

    Args:
        table: [length, heads] biases of the distances 0, 1, ...
        ops: The operations.
    """
    positions = np.arange(table.shape[0])
    distances = np.maximum(positions[:, None] - positions, 0)
    return ops.transpose(ops.take(table, distances), (2, 0, 1))


def attention(
    x: Any, mask: Any, positions: slice, w: Weights, block: str, heads: int, ops: Any
) -> Any:
    """The attention half of a block (Vaswani et al. 2017), with layer normalisation before it.

    Args:
        x: [n, length, d] states.
        mask: [n, length, length] bool, True where a position may attend to another.
        positions: The positions to return, which attend to all positions of `x`.
        w: Weights.
        block: Prefix of the names of the block's weights.
        heads: Attention heads.
        ops: The operations.

    Returns:
        [n, positions, d] states.
    """
    length, d = w["position"].shape
    count = positions.stop - positions.start
    h = layer_norm(x, w, f"{block}_attention", ops)
    keys = split_heads(ops.matmul(h, w[f"{block}_key"]), length, heads, ops)
    values = split_heads(ops.matmul(h, w[f"{block}_value"]), length, heads, ops)
    queries = ops.matmul(h[:, positions], w[f"{block}_query"])
    queries = split_heads(queries, count, heads, ops)
    x = x[:, positions]
    scores = ops.batch_matmul(queries, ops.transpose(keys, (0, 1, 3, 2)))
    scores = scores * np.float32((d // heads) ** -0.5)
    if f"{block}_distance" in w:
        scores = scores + distance_bias(w[f"{block}_distance"], ops)[:, positions]
    weights = ops.softmax(ops.where(mask[:, None, positions], scores, -1e9))
    h = ops.transpose(ops.batch_matmul(ops.dropout(weights), values), (0, 2, 1, 3))
    h = ops.matmul(ops.reshape(h, (-1, count, d)), w[f"{block}_output"])
    return residual(x, h, w, f"{block}_attention_gate", ops)


def feed_forward(x: Any, w: Weights, block: str, ops: Any) -> Any:
    """The feed-forward half of a block, SwiGLU (Shazeer 2020), with layer normalisation before."""
    h = layer_norm(x, w, f"{block}_feed", ops)
    h = ops.silu(ops.matmul(h, w[f"{block}_gate"])) * ops.matmul(h, w[f"{block}_up"])
    return residual(x, ops.matmul(h, w[f"{block}_down"]), w, f"{block}_feed_gate", ops)


def encode(
    w: Weights,
    ids: Any,
    gaps: Any,
    is_low: Any,
    heads: int,
    blocks: int,
    ops: Any = NumpyOps,
    last_only: bool = False,
    packing: Packing | None = None,
) -> Any:
    """Encode histories with a causal transformer (after SASRec, Kang and McAuley 2018).

    Args:
        w: Weights; `position` is [length, d].
        ids: [n, length] indices of movies, oldest first, -1 as padding on the left.
        gaps: [n, length] classes of time gaps; not used by a model without `gap` weights.
        is_low: [n, length] whether a movie is rated low; not used by a model without `low` weights.
        heads: Attention heads; they share d.
        blocks: Pre-norm blocks of attention and gated feed-forward.
        ops: The operations.
        packing: Where several histories share a row; without it, each row is one.
        last_only: Whether to return the last position only, which saves most of the last block.

    Returns:
        [n, length, d] users' vectors after each movie; with `last_only` [n, 1, d].
    """
    length, d = w["position"].shape
    mask = ids >= 0
    vectors = movie_vectors(w, ops)
    position = ops.take(w["position"], packing.positions) if packing else w["position"]
    x = ops.take(vectors, ops.maximum(ids, 0)) * np.float32(np.sqrt(d)) + position
    if "gap" in w:
        x = x + ops.take(w["gap"], gaps)
    if "low" in w:
        x = x + ops.float32(is_low)[:, :, None] * w["low"]
    x = ops.dropout(x) * ops.float32(mask)[:, :, None]
    causal_mask = np.tril(np.ones((length, length), dtype=bool))
    # Padding may attend to itself, because the softmax of a row without any key is undefined.
    attention_mask = (causal_mask[None] & mask[:, None, :]) | np.eye(length, dtype=bool)[None]
    if packing:
        attention_mask &= packing.histories[:, :, None] == packing.histories[:, None, :]
    for b in range(blocks):
        positions = slice(length - 1 if last_only and b == blocks - 1 else 0, length)
        x = attention(x, attention_mask, positions, w, f"block{b}", heads, ops)
        x = feed_forward(x, w, f"block{b}", ops)
    return layer_norm(x, w, "final", ops)


def movie_embeddings(arrays: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Return [movies] ids and [movies, d + 1] vectors.

    They are the movies with a positive; in a model with genres, all movies of the catalogue.
    """
    if "genre" not in arrays:
        return arrays["movie_ids"], with_bias(arrays["movie"], arrays["bias"])
    vectors = arrays["catalogue_genres"] @ arrays["genre"]
    # A movie without a positive has no vector of its own, and its bias is taken as the lowest.
    bias = np.full(len(vectors), arrays["bias"].min(), dtype=np.float32)
    rows = np.searchsorted(arrays["catalogue_ids"], arrays["movie_ids"])
    vectors[rows] += arrays["movie"]
    bias[rows] = arrays["bias"]
    return arrays["catalogue_ids"], with_bias(vectors, bias)


def without_genres(arrays: Weights) -> Weights:
    """Return an equal tower without genres: their part is added to the movies' own vectors."""
    weights = {name: value for name, value in arrays.items() if name != "genre"}
    return weights | {"movie": movie_vectors(arrays)}
