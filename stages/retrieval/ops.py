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
    sigmoid = staticmethod(tf.math.sigmoid)
    where = staticmethod(tf.where)

    def __init__(self, dropout: float, seed: int) -> None:
        self.rate = dropout
        self.row_rate = 0.0
        self.seed = seed
        # Where several workers train, each counts the same steps.
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.steps = tf.Variable(0, trainable=False, aggregation=first)
        self.begin(tf.constant(0), 0)

    def next_step(self) -> tf.Tensor:
        """Count a training step; its number."""
        return tf.identity(self.steps.assign_add(1))

    def begin(self, step: tf.Tensor, part: tf.Tensor | int) -> None:
        """Begin a part of a training step's batch, with random numbers of its own."""
        self.step, self.part, self.calls = step, part * 65_536, 0

    def uniform(self, shape: tf.Tensor, high: int = 1, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Numbers from 0 up to `high`, told by seed, step, part and place in it alone.

        TensorFlow's own generator repeats itself neither within a process nor under XLA.
        """
        self.calls += 1
        seed = tf.stack([self.seed + self.calls + self.part, self.step])
        return tf.random.stateless_uniform(shape, seed, 0, high, dtype, alg="philox")

    @staticmethod
    def float32(x: tf.Tensor) -> tf.Tensor:
        """As float32."""
        return tf.cast(x, tf.float32)

    @staticmethod
    def mean(x: tf.Tensor) -> tf.Tensor:
        """Over the last axis, which is kept."""
        return tf.reduce_mean(x, axis=-1, keepdims=True)

    def dropout(self, x: tf.Tensor) -> tf.Tensor:
        """Zero a share of the values and scale up the rest."""
        return self._drop(x, tf.shape(x), self.rate)

    def dropout_rows(self, x: tf.Tensor) -> tf.Tensor:
        """Zero a share of the rows, so that what is added to them learns to do without."""
        return self._drop(x, [x.shape[0], 1], self.row_rate)

    def _drop(self, x: tf.Tensor, shape: tf.Tensor, rate: float) -> tf.Tensor:
        if not rate:
            return x
        return tf.where(self.uniform(shape) < rate, 0.0, x / (1 - rate))
