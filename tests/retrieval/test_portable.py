"""Functions without the processor's approximate instructions, and models that use no others."""

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from stages.retrieval import portable
from tests.retrieval.small_models import MODELS, gradient_arguments, operations

X = np.random.default_rng(0).uniform(0.001, 9, (5, 7)).astype(np.float32)
# Operations that TensorFlow or oneDNN compute with approximate instructions, or turn into such.
APPROXIMATE = {"Inv", "Reciprocal", "Rsqrt", "RsqrtGrad", "Softmax", "Sqrt"}


def value_and_gradient(function, compiled: bool) -> tuple[np.ndarray, np.ndarray]:
    """`function(X)`, and its gradient times 3."""

    @tf.function(jit_compile=compiled)
    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, tape.gradient(y, x, 3 * tf.ones_like(y))

    return tuple(tensor.numpy() for tensor in compute(tf.constant(X)))


@pytest.mark.parametrize("compiled", [False, True])
def test_rsqrt_and_its_gradient(compiled: bool) -> None:
    value, gradient = value_and_gradient(portable.rsqrt, compiled)
    assert value == pytest.approx(X**-0.5, rel=1e-6)
    assert gradient == pytest.approx(3 * -0.5 * X**-1.5, rel=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_logsumexp_and_its_gradient(compiled: bool) -> None:
    value, gradient = value_and_gradient(portable.logsumexp, compiled)
    sums = np.exp(X).sum(axis=1, keepdims=True)
    assert value == pytest.approx(np.log(sums), rel=1e-6)
    assert gradient == pytest.approx(3 * np.exp(X) / sums, rel=1e-5)


@pytest.mark.parametrize(("name", "loss", "num_sampled"), MODELS)
def test_a_training_step_uses_no_approximate_instructions(
    tables: dict[str, pl.DataFrame], name: str, loss: str, num_sampled: int
) -> None:
    model, arguments = gradient_arguments(name, tables, loss, num_sampled)
    if model.use_xla:
        code = model._xla_gradients.experimental_get_compiler_ir(*arguments)("optimized_hlo")
        assert "sqrt(" not in code
        assert " exponential(" in code
    else:
        used = operations(tf.function(model._gradients).get_concrete_function(*arguments))
        assert not used & APPROXIMATE
        assert "Exp" in used or "Softplus" in used or "SoftmaxCrossEntropyWithLogits" in used
