"""Sums and matrix products with one order of summation on every processor.

Libraries split the inner dimension of a product by the sizes of the caches and the number of
threads, and sum rows and columns that fill no tile of their kernels in another order than the rest.
Here the inner dimension is cut into chunks that no library splits, and rows and columns are padded
to whole tiles. Gradients are computed in the same way. `tests/retrieval/test_products.py` compares
the bytes of kernels for AVX2 and AVX-512.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

# Below the inner dimensions that Eigen (288 where the L1 cache has 32 KiB) and oneDNN split; oneDNN
# splits smaller ones where the first matrix is transposed.
CHUNK, TRANSPOSED_CHUNK = 192, 96
# oneDNN's kernels have tiles of 24 x 4 and 24 x 6 (AVX2) and 48 x 8 (AVX-512).
TILE = 48
HALF_TILE = TILE // 2
Gradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def total(x: tf.Tensor) -> tf.Tensor:
    """Sum [rows, columns] by rows, then the rows' sums; one sum would be split among threads."""
    return tf.reduce_sum(tf.reduce_sum(x, axis=1))


def pad_rows(x: tf.Tensor, value: float = 0) -> tf.Tensor:
    """Append rows of `value` to x [rows, ...], up to a multiple of `TILE`."""
    x = tf.convert_to_tensor(x)
    paddings = [[0, -x.shape[0] % TILE]] + [[0, 0]] * (x.shape.rank - 1)
    return tf.pad(x, paddings, constant_values=value)


def chunk_count(length: int, chunk: int = CHUNK) -> int:
    """Return the number of chunks of an inner dimension: if possible one that divides it evenly.

    For example, 8 for 1440 (8 chunks of 180), and 12 for 1776, where 10 would need padding.
    """
    least = -(-length // chunk)
    return next((n for n in range(least, 2 * least) if length % n == 0), least)


def _chunks(x: tf.Tensor, count: int, inner_is_first: bool) -> tf.Tensor:
    """Pad a matrix with inner dimension k and split it into [count, k / count, n].

    Args:
        x: [k, n], or [n, k].
        count: Chunks of the inner dimension.
        inner_is_first: Whether x is [k, n]; otherwise the result is [count, n, k / count].
    """
    inner, outer = x.shape if inner_is_first else reversed(x.shape)
    size = -(-inner // count)
    paddings = [[0, count * size - inner], [0, -outer % TILE]]
    x = tf.pad(x, paddings if inner_is_first else paddings[::-1])
    if inner_is_first:
        return tf.reshape(x, (count, size, -1))
    return tf.transpose(tf.reshape(x, (-1, count, size)), (1, 0, 2))


def _product(
    x: tf.Tensor, y: tf.Tensor, transpose_x: bool = False, transpose_y: bool = False
) -> tf.Tensor:
    """Return the product of two matrices, transposed first where it says so."""
    chunk = TRANSPOSED_CHUNK if transpose_x else CHUNK
    count = chunk_count(x.shape[0 if transpose_x else 1], chunk)
    rows, columns = x.shape[1 if transpose_x else 0], y.shape[0 if transpose_y else 1]
    parts = tf.matmul(
        _chunks(x, count, transpose_x),
        _chunks(y, count, not transpose_y),
        transpose_a=transpose_x,
        transpose_b=transpose_y,
    )
    return tf.reduce_sum(parts, axis=0)[:rows, :columns]


@tf.custom_gradient
def inner_products(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Return the [n, m] inner products of the rows of x [n, d] and y [m, d]."""

    def gradient(g: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        g = tf.convert_to_tensor(g)
        return _product(g, y), _product(g, x, transpose_x=True)

    return _product(x, y, transpose_y=True), gradient


@tf.custom_gradient
def _matrix_product(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Return the product of x [n, d] and y [d, m]."""

    def gradient(g: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        g = tf.convert_to_tensor(g)
        return _product(g, y, transpose_y=True), _product(x, g, transpose_x=True)

    return _product(x, y), gradient


@tf.custom_gradient
def _layer(x: tf.Tensor, w: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Return the product of x [n, length, d] and w [d, m].

    The gradient of w is a sum over n of products whose inner dimension is the length.
    """

    def gradient(g: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        d = x.shape[2]
        padded = tf.pad(x, [[0, 0], [0, 0], [0, -d % HALF_TILE]])
        by_window = tf.matmul(padded, g, transpose_a=True)
        return tf.matmul(g, w, transpose_b=True), tf.reduce_sum(by_window, axis=0)[:d]

    return tf.matmul(x, w), gradient


def matmul(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Return the product of x [n, d] or [n, length, d] and y [d, m]."""
    x = tf.convert_to_tensor(x)
    return _layer(x, y) if x.shape.rank == 3 else _matrix_product(x, y)


def batch_matmul(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return the products of a [..., n, k] and b [..., k, m].

    Both are padded to whole tiles. No inner dimension is cut into chunks: those of attention, k
    here, m and n in the gradients, are shorter than a chunk.
    """

    def pad(x: tf.Tensor) -> tf.Tensor:
        paddings = [[0, -size % HALF_TILE] for size in x.shape[-2:]]
        return tf.pad(x, [[0, 0]] * (x.shape.rank - 2) + paddings)

    return tf.matmul(pad(a), pad(b))[..., : a.shape[-2], : b.shape[-1]]


class Rows(tf.experimental.ExtensionType):
    """A matrix [n, d] whose `tf.matmul(x, y, transpose_b=True)` is `inner_products`.

    With it, code of a library computes its scores in the order of this module.
    """

    values: tf.Tensor


# `wraps` takes over the signature, which TensorFlow compares with that of its own function.
@tf.experimental.dispatch_for_api(tf.matmul, {"a": Rows, "b": Rows})
@functools.wraps(tf.matmul)
def _matmul_of_rows(a: Rows, b: Rows, *, transpose_b: bool = False) -> tf.Tensor:
    if not transpose_b:
        raise ValueError("Rows have inner products only")
    return inner_products(a.values, b.values)


@tf.experimental.dispatch_for_api(tf.shape, {"input": Rows})
@functools.wraps(tf.shape)
def _shape_of_rows(rows: Rows) -> tf.Tensor:
    return tf.shape(rows.values)
