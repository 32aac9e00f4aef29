"""TensorFlow's operations for `stages.models.towers`, with products in float32 or bfloat16."""

from collections.abc import MutableMapping
from pathlib import Path

import tensorflow as tf

from stages.retrieval import portable, products

# On CPUs, XLA computes products in bfloat16 as float32; TensorFlow's own have oneDNN's kernels. So
# XLA compiles what is between the products, and leaves them to TensorFlow.
TF_XLA_FLAGS = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit --tf_xla_ops_to_cluster=FUSIBLE"
# Of Intel and AMD, and of Arm.
BFLOAT16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}
PROCESSORS = Path("/proc/cpuinfo")


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

    in_xla = True  # whether XLA compiles the products too
    matmul = staticmethod(products.matmul)
    batch_matmul = staticmethod(products.batch_matmul)
    inner_products = staticmethod(products.inner_products)
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


def prepare_gpus() -> str:
    """Let the memory of each GPU grow with its use; return a note for the user if there is one.

    TensorFlow computes on the first GPU that it sees. By default it takes all of its memory at
    once, so that a second training there fails.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return ", on a GPU: other devices compute other weights" if gpus else ""


def has_bfloat16(cpuinfo: str) -> bool:
    """Return whether a processor, described as in /proc/cpuinfo, has instructions for bfloat16."""
    return not BFLOAT16_INSTRUCTIONS.isdisjoint(cpuinfo.split())


def prepare_bfloat16(environment: MutableMapping[str, str]) -> str:
    """Set the variable that TensorFlow reads before it compiles; return a note for the user.

    The variable counts for the whole process.
    """
    flags = environment.get("TF_XLA_FLAGS", "")
    environment["TF_XLA_FLAGS"] = f"{flags} {TF_XLA_FLAGS}".strip()
    note = ", in bfloat16: other processors compute other weights"
    if PROCESSORS.exists() and not has_bfloat16(PROCESSORS.read_text(encoding="utf-8")):
        return f"{note}, and this one has no instructions for it, so float32 is faster"
    return note


def bfloat16_product(x: tf.Tensor, y: tf.Tensor, transpose_y: bool = False) -> tf.Tensor:
    """Return the float32 products of x [..., n, d] and y [..., d, m], both rounded to bfloat16."""
    rounded = (tf.cast(factor, tf.bfloat16) for factor in (x, y))
    return tf.cast(tf.matmul(*rounded, transpose_b=transpose_y), tf.float32)


class BFloat16Ops(TensorFlowOps):
    """The operations of `TensorFlowOps`, with matrix products in bfloat16.

    The factors are rounded to bfloat16, which has 8 significant bits, and the products are summed
    in float32 (Kalamkar et al. 2019). Weights, their gradients and everything between the products
    stay float32. How a sum is split depends on the processor, so each computes other bytes.
    """

    in_xla = False

    @staticmethod
    def matmul(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Return the product of x [n, d] or [n, length, d] and y [d, m]."""
        x = tf.convert_to_tensor(x)
        rows = tf.reshape(x, (-1, x.shape[-1]))
        return tf.reshape(bfloat16_product(rows, y), (*x.shape[:-1], y.shape[1]))

    @staticmethod
    def batch_matmul(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Return the products of a [..., n, k] and b [..., k, m]."""
        return bfloat16_product(a, b)

    @staticmethod
    def inner_products(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Return the [n, m] inner products of the rows of x [n, d] and y [m, d]."""
        return bfloat16_product(x, y, transpose_y=True)
