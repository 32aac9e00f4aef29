"""TensorFlow's operations for `stages.models.towers`."""

import tensorflow as tf

from stages.retrieval import portable, products


class TensorFlowOps:
    """The operations of `stages.models.towers.NumpyOps`, with dropout."""

    matmul = staticmethod(products.matmul)
    take = staticmethod(tf.gather)
    reshape = staticmethod(tf.reshape)
    transpose = staticmethod(tf.transpose)
    maximum = staticmethod(tf.maximum)
    concat = staticmethod(tf.concat)
    ones_like = staticmethod(tf.ones_like)
    rsqrt = staticmethod(portable.rsqrt)
    softmax = staticmethod(tf.nn.softmax)
    silu = staticmethod(tf.nn.silu)
    sigmoid = staticmethod(tf.math.sigmoid)
    where = staticmethod(tf.where)

    def __init__(self, dropout: float, seed: int) -> None:
        self.dropout_rate = dropout
        self.row_dropout_rate = 0.0
        self.seed = seed
        # Where several workers train, each counts the same steps.
        aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.steps = tf.Variable(0, trainable=False, aggregation=aggregation)
        self.begin(tf.constant(0), 0)

    def next_step(self) -> tf.Tensor:
        """Count a training step, and return its number."""
        return tf.identity(self.steps.assign_add(1))

    def begin(self, step: tf.Tensor, part: tf.Tensor | int) -> None:
        """Begin a part of a training step's batch; each part has different random numbers."""
        self.step, self.part, self.calls = step, part * 65_536, 0

    def uniform(self, shape: tf.Tensor, high: int = 1, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Draw numbers in [0, high) that depend only on seed, step, part and count of calls in it.

        TensorFlow's stateful generator is reproducible neither within a process nor under XLA.
        """
        self.calls += 1
        seed = tf.stack([self.seed + self.calls + self.part, self.step])
        return tf.random.stateless_uniform(shape, seed, 0, high, dtype, alg="philox")

    @staticmethod
    def float32(x: tf.Tensor) -> tf.Tensor:
        """Cast to float32."""
        return tf.cast(x, tf.float32)

    @staticmethod
    def mean(x: tf.Tensor) -> tf.Tensor:
        """Return the mean over the last axis, which is kept with length 1."""
        return tf.reduce_mean(x, axis=-1, keepdims=True)

    def dropout(self, x: tf.Tensor) -> tf.Tensor:
        """Zero a share of the values and scale up the others."""
        return self._drop(x, tf.shape(x), self.dropout_rate)

    def dropout_rows(self, x: tf.Tensor) -> tf.Tensor:
        """Zero a share of the rows, so that the vectors added to them learn to stand alone."""
        return self._drop(x, [x.shape[0], 1], self.row_dropout_rate)

    def _drop(self, x: tf.Tensor, shape: tf.Tensor, rate: float) -> tf.Tensor:
        if not rate:
            return x
        return tf.where(self.uniform(shape) < rate, 0.0, x / (1 - rate))
