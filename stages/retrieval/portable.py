"""Functions that the processors of all makers compute equally.

x86-64 has approximate instructions for 1 / x and 1 / sqrt(x), whose last bits each maker chooses.
TensorFlow uses them in `tf.math.reciprocal`, which is part of the gradient of a logarithm, and in
`tf.math.rsqrt`, into which XLA and TensorFlow's graph optimiser also turn 1 / tf.sqrt(x). Divisions
are rounded exactly, and exp and log are polynomials.
"""

from collections.abc import Callable

import tensorflow as tf

Gradient = Callable[[tf.Tensor], tf.Tensor]


@tf.custom_gradient
def rsqrt(x: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Return 1 / sqrt(x) of positive values."""
    y = tf.exp(-0.5 * tf.math.log(x))
    return y, lambda g: g * (-0.5 * y / x)


@tf.custom_gradient
def logsumexp(x: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
    """Return the [n, 1] logarithms of the sums of exp(x), where x is [n, m]."""
    y = tf.reduce_logsumexp(x, axis=1, keepdims=True)
    return y, lambda g: g * tf.exp(x - y)
