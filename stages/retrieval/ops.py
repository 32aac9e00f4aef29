"""TensorFlow's side of `stages.towers`."""

import tensorflow as tf


class TensorFlowOps:
    """The operations of `stages.towers.NumpyOps`, with dropout."""

    take = staticmethod(tf.gather)
    reshape = staticmethod(tf.reshape)
    transpose = staticmethod(tf.transpose)
    maximum = staticmethod(tf.maximum)
    concat = staticmethod(tf.concat)
    ones_like = staticmethod(tf.ones_like)
    rsqrt = staticmethod(tf.math.rsqrt)
    softmax = staticmethod(tf.nn.softmax)
    silu = staticmethod(tf.nn.silu)

    def __init__(self, dropout: float) -> None:
        self.rate = dropout
        self.row_rate = 0.0

    @staticmethod
    def float32(x: tf.Tensor) -> tf.Tensor:
        """As float32."""
        return tf.cast(x, tf.float32)

    @staticmethod
    def where(condition: tf.Tensor, x: tf.Tensor, y: float) -> tf.Tensor:
        """`x` where the condition holds, elsewhere `y`."""
        return tf.where(condition, x, y)

    @staticmethod
    def mean(x: tf.Tensor) -> tf.Tensor:
        """Over the last axis, which is kept."""
        return tf.reduce_mean(x, axis=-1, keepdims=True)

    def dropout(self, x: tf.Tensor) -> tf.Tensor:
        """Zero a share of the values and scale up the rest."""
        return tf.nn.dropout(x, self.rate) if self.rate else x

    def dropout_rows(self, x: tf.Tensor) -> tf.Tensor:
        """Zero a share of the rows, so that what is added to them learns to do without."""
        return tf.nn.dropout(x, self.row_rate, noise_shape=[x.shape[0], 1]) if self.row_rate else x
