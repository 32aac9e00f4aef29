"""TensorFlow's operations for `stages.models.towers`."""

import tensorflow as tf

from stages.retrieval import portable, products


def hash_bits(positions: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Return [n] uint32 random bits: hashes of `positions` [n] uint32, by a function of two `keys`.

    It is the mixing function triple32 ("Prospecting for Hash Functions", Wellons 2018), with a key
    added before each of the first two multiplications. XLA computes it in vectors, inside of the
    operation that uses the numbers, so it takes a fraction of the time of TensorFlow's generators.
    """

    def mix(x: tf.Tensor, bits: int) -> tf.Tensor:
        return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, bits))

    x = mix(positions + keys[0], 17) * 0xED5AD4BB
    x = mix(x + keys[1], 11) * 0xAC4C1B51
    return mix(mix(x, 15) * 0x31848BAB, 14)


def to_unit_interval(bits: tf.Tensor) -> tf.Tensor:
    """Return the upper 24 of uint32 bits as float32 numbers in [0, 1), which holds them exactly."""
    return tf.cast(tf.bitcast(tf.bitwise.right_shift(bits, 8), tf.int32), tf.float32) * 2.0**-24


class TensorFlowOps:
    """The operations of `stages.models.towers.NumpyOps`, with dropout."""

    matmul = staticmethod(products.matmul)
    batch_matmul = staticmethod(products.batch_matmul)
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

    def uniform(self, shape: tf.Tensor) -> tf.Tensor:
        """Return float32 numbers in [0, 1): hashes of their positions and of the call's seed."""
        keys = tf.random.stateless_uniform([2], self._seed(), None, None, tf.uint32, alg="philox")
        positions = tf.bitcast(tf.range(tf.reduce_prod(shape)), tf.uint32)
        return tf.reshape(to_unit_interval(hash_bits(positions, keys)), shape)

    def integers(self, shape: list[int], high: int) -> tf.Tensor:
        """Return random int32 numbers from 0 to `high` - 1."""
        return tf.random.stateless_uniform(shape, self._seed(), 0, high, tf.int32, alg="philox")

    def _seed(self) -> tf.Tensor:
        """Return a seed that depends only on `seed`, step, part and count of calls in the part.

        TensorFlow's stateful generator is reproducible neither within a process nor under XLA.
        """
        self.calls += 1
        return tf.stack([self.seed + self.calls + self.part, self.step])

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
