"""Products in bfloat16."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from stages.retrieval import ops
from stages.retrieval.ops import BFloat16Ops, has_bfloat16, prepare_bfloat16
from tests.conftest import ROOT
from tests.retrieval.small_models import build_small, train_small

RNG = np.random.default_rng(0)
ROUNDING_ERROR = 2.0**-8  # the largest relative error of rounding to 8 significant bits

# A layer and its gradients, as a training computes them.
LAYER = """
import os
from stages.retrieval.ops import BFloat16Ops, prepare_bfloat16
prepare_bfloat16(os.environ)
import tensorflow as tf
ops = BFloat16Ops(0.5, 1)

@tf.function
def gradient(x, w):
    with tf.GradientTape() as tape:
        tape.watch(w)
        loss = tf.reduce_sum(ops.dropout(ops.silu(ops.matmul(x, w)) * 2.0))
    return tape.gradient(loss, w)

assert gradient(tf.ones((8, 4, 16)), tf.ones((16, 24))).shape == (16, 24)
"""


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float32).numpy()


@pytest.mark.parametrize(
    ("product", "x", "y", "exact"),
    [
        (BFloat16Ops.matmul, normal(5, 300), normal(300, 7), lambda x, y: x @ y),
        (BFloat16Ops.matmul, normal(2, 3, 300), normal(300, 7), lambda x, y: x @ y),
        (BFloat16Ops.batch_matmul, normal(2, 3, 4, 300), normal(2, 3, 300, 7), lambda x, y: x @ y),
        (BFloat16Ops.inner_products, normal(5, 300), normal(7, 300), lambda x, y: x @ y.T),
    ],
)
def test_factors_are_rounded_and_summed_in_float32(product, x, y, exact) -> None:
    result = product(tf.constant(x), tf.constant(y))
    assert result.dtype == tf.float32
    expected = exact(rounded(x).astype(np.float64), rounded(y).astype(np.float64))
    assert result.numpy() == pytest.approx(expected, rel=1.1 * ROUNDING_ERROR, abs=1e-4)
    assert not np.allclose(result, exact(x, y), rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_rounded_factors() -> None:
    x, y = tf.constant(normal(6, 40)), tf.constant(normal(40, 9))
    g = rounded(normal(6, 9))
    with tf.GradientTape() as tape:
        tape.watch((x, y))
        product = BFloat16Ops.matmul(x, y)
    dx, dy = tape.gradient(product, (x, y), tf.constant(g))
    assert dx.dtype == dy.dtype == tf.float32
    assert dx.numpy() == pytest.approx(g @ rounded(y.numpy()).T, rel=1.1 * ROUNDING_ERROR, abs=1e-4)
    assert dy.numpy() == pytest.approx(rounded(x.numpy()).T @ g, rel=1.1 * ROUNDING_ERROR, abs=1e-4)


def test_history_learns_as_much_as_in_float32(tables: dict) -> None:
    losses = {
        precision: train_small("history", tables, precision=precision)[0].curve[-1]["loss"]
        for precision in ("float32", "bfloat16")
    }
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.01)
    assert losses["bfloat16"] != losses["float32"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_xla_compiles_the_whole_step_in_float32_alone(precision: str, tables: dict) -> None:
    _, model, batches = build_small("history", tables, precision=precision, batch_size=4)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.01))
    model.train_step(tuple(map(tf.constant, next(iter(batches())))))
    compiled = model._xla_gradients.experimental_get_tracing_count()
    as_graph = model._graph_gradients.experimental_get_tracing_count()
    assert (compiled > 0, as_graph > 0) == (precision == "float32", precision == "bfloat16")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx2 avx512f avx512_bf16", True),
        ("flags : amx_bf16 amx_tile", True),
        ("Features : fp asimd bf16 i8mm", True),
        ("flags : fpu avx2 avx512f", False),
    ],
)
def test_processors_with_instructions_are_recognised(
    flags: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert has_bfloat16(flags) == expected
    path = tmp_path / "cpuinfo"
    path.write_text(flags)
    monkeypatch.setattr(ops, "PROCESSORS", path)
    note = prepare_bfloat16({})
    assert "other processors compute other weights" in note
    assert ("float32 is faster" in note) != expected


def test_flags_that_are_set_already_are_kept() -> None:
    environment = {"TF_XLA_FLAGS": "--tf_xla_min_cluster_size=3"}
    prepare_bfloat16(environment)
    assert environment["TF_XLA_FLAGS"].split() == [
        "--tf_xla_min_cluster_size=3",
        *ops.TF_XLA_FLAGS.split(),
    ]


def test_xla_compiles_what_is_between_the_products_alone(tmp_path: Path) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    environment = {**os.environ, "XLA_FLAGS": flags}
    environment.pop("TF_XLA_FLAGS", None)
    subprocess.run([sys.executable, "-c", LAYER], cwd=ROOT, env=environment, check=True)
    modules = [path.read_text() for path in tmp_path.glob("*before_optimizations.txt")]
    assert any("cluster" in text and "logistic" in text for text in modules)
    assert not any(" dot(" in text for text in modules)
