"""NumPy's operations for `stages.models.towers`."""

import numpy as np


class NumpyOps:
    """The operations of `stages.retrieval.ops.TensorFlowOps`, without dropout."""

    matmul = batch_matmul = staticmethod(np.matmul)
    take = staticmethod(lambda table, ids: table[ids])
    reshape = staticmethod(np.reshape)
    transpose = staticmethod(np.transpose)
    maximum = staticmethod(np.maximum)
    concat = staticmethod(np.concatenate)
    ones_like = staticmethod(np.ones_like)

    @staticmethod
    def float32(x: np.ndarray) -> np.ndarray:
        """Cast to float32."""
        return x.astype(np.float32)

    @staticmethod
    def where(condition: np.ndarray, x: np.ndarray, y: float) -> np.ndarray:
        """Return `x` where the condition holds, else `y`."""
        return np.where(condition, x, np.float32(y))

    @staticmethod
    def mean(x: np.ndarray) -> np.ndarray:
        """Return the mean over the last axis, which is kept with length 1."""
        return x.mean(axis=-1, keepdims=True)

    @staticmethod
    def rsqrt(x: np.ndarray) -> np.ndarray:
        """Return 1 / sqrt(x)."""
        return 1 / np.sqrt(x)

    @staticmethod
    def softmax(x: np.ndarray) -> np.ndarray:
        """Return the softmax over the last axis."""
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    @staticmethod
    def sigmoid(x: np.ndarray) -> np.ndarray:
        """Return 1 / (1 + exp(-x))."""
        with np.errstate(over="ignore"):  # where exp overflows, the result is 0
            return 1 / (1 + np.exp(-x))

    @staticmethod
    def silu(x: np.ndarray) -> np.ndarray:
        """Return x * sigmoid(x)."""
        with np.errstate(over="ignore"):
            return x / (1 + np.exp(-x))

    @staticmethod
    def dropout(x: np.ndarray) -> np.ndarray:
        """Return `x`: nothing is dropped in serving."""
        return x

    dropout_rows = dropout
