"""Sums and products whose bytes do not depend on the processor."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from stages.retrieval import products
from stages.retrieval.training import tfrs
from tests.conftest import ROOT

RNG = np.random.default_rng(0)
# Sizes that fill no tile; inner dimensions of one chunk, of equal chunks, and of unequal ones.
SHAPES = [(5, 3, 7), (48, 192, 48), (50, 193, 65), (64, 1411, 65), (97, 1777, 18)]


def matrix(*shape: int) -> np.ndarray:
    """Small whole numbers, whose sums are exact in any order."""
    return RNG.integers(-8, 9, shape).astype(np.float32)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("n", "d", "m"), SHAPES)
def test_products_and_their_gradients_are_those_of_numpy(
    n: int, d: int, m: int, compiled: bool
) -> None:
    x, y, g = matrix(n, d), matrix(d, m), matrix(n, m)

    @tf.function(jit_compile=compiled)
    def compute(x, y, rows, g):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch((x, y, rows))
            product, inner = products.matmul(x, y), products.inner_products(x, rows)
        gradients = tape.gradient(product, (x, y), g), tape.gradient(inner, (x, rows), g)
        return product, inner, gradients

    product, inner, gradients = compute(*map(tf.constant, (x, y, y.T.copy(), g)))
    assert np.array_equal(product, x @ y)
    assert np.array_equal(inner, x @ y)
    for dx, dy in (gradients[0], (gradients[1][0], tf.transpose(gradients[1][1]))):
        assert np.array_equal(dx, g @ y.T)
        assert np.array_equal(dy, x.T @ g)


def test_a_layer_and_its_gradients_are_those_of_numpy() -> None:
    x, w, g = matrix(3, 7, 10), matrix(10, 5), matrix(3, 7, 5)
    with tf.GradientTape() as tape:
        tensors = tf.constant(x), tf.constant(w)
        tape.watch(tensors)
        product = products.matmul(*tensors)
    dx, dw = tape.gradient(product, tensors, tf.constant(g))
    assert np.array_equal(product, x @ w)
    assert np.array_equal(dx, g @ w.T)
    assert np.array_equal(dw, np.einsum("nld,nle->de", x, g))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("n", "k", "m"), [(5, 3, 7), (24, 48, 24), (93, 32, 93)])
def test_batches_of_products_and_their_gradients_are_those_of_numpy(
    n: int, k: int, m: int, compiled: bool
) -> None:
    a, b, g = matrix(4, 2, n, k), matrix(4, 2, k, m), matrix(4, 2, n, m)

    @tf.function(jit_compile=compiled)
    def compute(a, b, g):
        with tf.GradientTape() as tape:
            tape.watch((a, b))
            product = products.batch_matmul(a, b)
        return product, *tape.gradient(product, (a, b), g)

    product, da, db = compute(*map(tf.constant, (a, b, g)))
    assert np.array_equal(product, a @ b)
    assert np.array_equal(da, g @ b.swapaxes(2, 3))
    assert np.array_equal(db, a.swapaxes(2, 3) @ g)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_task_of_rows_has_the_losses_and_gradients_of_the_task_of_tensors(compiled: bool) -> None:
    task = tfrs.tasks.Retrieval(
        loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True, reduction="none")
    )
    x, y = RNG.normal(size=(5, 3)).astype(np.float32), RNG.normal(size=(8, 3)).astype(np.float32)

    def compute(x, y, wrap):
        with tf.GradientTape() as tape:
            tape.watch((x, y))
            loss = task(wrap(x), wrap(y))
        return loss, *tape.gradient(loss, (x, y))

    def results(wrap) -> list[np.ndarray]:
        function = tf.function(lambda x, y: compute(x, y, wrap), jit_compile=compiled)
        return [tensor.numpy() for tensor in function(tf.constant(x), tf.constant(y))]

    for values, expected in zip(results(products.Rows), results(tf.identity), strict=True):
        assert values == pytest.approx(expected, abs=1e-6)


def test_rows_have_no_other_product() -> None:
    rows = products.Rows(tf.ones((2, 3)))
    with pytest.raises(ValueError, match="inner products only"):
        tf.matmul(rows, products.Rows(tf.ones((3, 2))))
    with pytest.raises(TypeError):
        tf.matmul(rows, rows, transpose_a=True, transpose_b=True)


def test_rows_are_padded_to_whole_tiles() -> None:
    padded = products.pad_rows(tf.ones((50, 2)), -1.0).numpy()
    assert padded.shape == (96, 2)
    assert (padded[:50] == 1).all()
    assert (padded[50:] == -1).all()
    assert products.pad_rows(tf.ones(48)).shape == (48,)


def test_chunks_are_short_and_equal_where_that_is_possible() -> None:
    assert [products.chunk_count(n) for n in (1, 192, 193, 1440, 1776)] == [1, 1, 2, 8, 12]
    for length in range(1, 3000):
        count = products.chunk_count(length)
        assert -(-length // count) <= products.CHUNK


# What a training computes, on random numbers, whose sums depend on their order.
BYTES = """
import hashlib
import numpy as np
from stages.retrieval import products
import tensorflow as tf
import tensorflow_recommenders as tfrs

rng = np.random.default_rng(0)

def normal(*shape):
    return tf.constant(rng.normal(size=shape).astype(np.float32))

def two_towers(x, y, genres, vectors):
    with tf.GradientTape() as tape:
        tape.watch((x, y, vectors))
        loss = products.total(products.inner_products(x, y) ** 2)
        loss += products.total(products.matmul(genres, vectors) ** 2)
    return loss, *tape.gradient(loss, (x, y, vectors))

task = tfrs.tasks.Retrieval(
    loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True, reduction="none"),
    num_hard_negatives=64,
    remove_accidental_hits=True,
)

@tf.function
def in_batch(x, y):
    with tf.GradientTape() as tape:
        tape.watch((x, y))
        loss = tf.reduce_sum(task(products.Rows(x), products.Rows(y), candidate_ids=ids))
    return loss, *tape.gradient(loss, (x, y))

@tf.function(jit_compile=True)
def layer(x, w):
    with tf.GradientTape() as tape:
        tape.watch((x, w))
        loss = tf.reduce_sum(tf.tanh(products.matmul(x, w)))
    return loss, *tape.gradient(loss, (x, w))

@tf.function(jit_compile=True)
def attention(q, k, v):
    with tf.GradientTape() as tape:
        tape.watch((q, k, v))
        weights = tf.nn.softmax(products.batch_matmul(q, tf.transpose(k, (0, 1, 3, 2))))
        loss = tf.reduce_sum(tf.tanh(products.batch_matmul(weights, v)))
    return loss, *tape.gradient(loss, (q, k, v))

digest = hashlib.sha256()
for length, size in ((54, 32), (93, 32), (100, 64)):
    for tensor in attention(*(normal(32, 2, length, size) for _ in range(3))):
        digest.update(tensor.numpy().tobytes())
ids = tf.constant(rng.integers(0, 1000, 1411))
for d in (64, 128):
    arguments = normal(24 * 54, d), normal(1411, d), normal(1411, 18), normal(18, d)
    for compiled in (False, True):
        for tensor in tf.function(two_towers, jit_compile=compiled)(*arguments):
            digest.update(tensor.numpy().tobytes())
    for tensor in in_batch(arguments[0][:700], arguments[1]):
        digest.update(tensor.numpy().tobytes())
    for tensor in layer(normal(24, 54, d), normal(d, 2 * d)):
        digest.update(tensor.numpy().tobytes())
print(digest.hexdigest())
"""
MACHINES = {
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "no oneDNN, 16 threads": {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "16"},
    "one thread": {"TF_NUM_INTRAOP_THREADS": "1"},
}


def computed_bytes(**environment: str) -> str:
    """The digest of what a training computes in a process with this environment."""
    process = subprocess.run(
        [sys.executable, "-c", BYTES],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.strip()


def test_other_kernels_and_numbers_of_threads_give_equal_bytes() -> None:
    digests = {name: computed_bytes(**variables) for name, variables in MACHINES.items()}
    expected = computed_bytes()
    assert len(expected) == len(hashlib.sha256().hexdigest())
    assert digests == dict.fromkeys(MACHINES, expected)
