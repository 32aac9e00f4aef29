import itertools

import numpy as np
import pytest

from stages.models.towers import encode
from tests.retrieval.small_models import train_small


def test_numpy_and_tensorflow_encode_alike(tables: dict) -> None:
    from stages.retrieval.ops import TensorFlowOps

    fit, _ = train_small("history", tables, epochs=1)
    ids = np.array([[-1, -1, -1, 5, 4, 3, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7]])
    gaps = np.array([[0, 0, 0, 0, 2, 31, 1, 0], [0, 20, 0, 0, 1, 1, 1, 5]])
    is_low = ids % 3 == 1
    assert "low" in fit.arrays
    arguments = gaps, is_low, int(fit.arrays["num_heads"]), int(fit.arrays["num_blocks"])
    weights = {k: v for k, v in fit.arrays.items() if v.dtype == np.float32}
    states = encode(weights, ids, *arguments, TensorFlowOps(0.0, seed=0)).numpy()
    assert np.allclose(encode(weights, ids, *arguments), states, atol=1e-4)


def test_random_numbers_depend_on_seed_step_part_and_call_alone() -> None:
    from stages.retrieval.ops import TensorFlowOps, tf

    def draw(seed: int, step: int, part: int, call: int) -> list[float]:
        ops = TensorFlowOps(0.5, seed)
        ops.begin(tf.constant(step), part)
        return [ops.uniform([4]).numpy() for _ in range(call)][-1].tolist()

    numbers = [draw(1, 1, 0, 1), draw(2, 1, 0, 1), draw(1, 2, 0, 1), draw(1, 1, 1, 1)]
    assert len({tuple(row) for row in numbers}) == 4
    assert draw(1, 1, 0, 1) == numbers[0]
    assert draw(1, 1, 0, 2) != numbers[0]


def test_random_numbers_are_uniform_and_independent() -> None:
    """Statistics of a million numbers; each has a standard deviation of 1."""
    from stages.retrieval.ops import TensorFlowOps, tf

    def draw(step: int) -> np.ndarray:
        ops = TensorFlowOps(0.5, seed=7)
        ops.begin(tf.constant(step), 0)
        return np.stack([ops.uniform([512, 512]).numpy().ravel() for _ in range(2)])

    draws = np.concatenate([draw(1), draw(2)])
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.stack([np.bincount((row * 64).astype(int), minlength=64) for row in draws])
    chi_square = ((counts - 4096) ** 2 / 4096).sum(axis=1)
    assert np.abs((chi_square - 63) / np.sqrt(2 * 63)).max() < 4
    centred = (draws - 0.5) * np.sqrt(12)
    correlations = centred @ centred.T / np.sqrt(centred.shape[1])
    assert np.abs(correlations[np.triu_indices(4, 1)]).max() < 4
    dropped = (draws < 0.3) - 0.3
    lags = [*range(1, 65), 100, 128, 256, 512, 1024]
    by_lag = [(dropped[:, lag:] * dropped[:, :-lag]).mean(axis=1) / 0.21 for lag in lags]
    statistics = np.array(by_lag) * np.sqrt(draws.shape[1])
    assert np.abs(statistics).max() < 5
    assert statistics.std() == pytest.approx(1, abs=0.15)


def test_each_bit_of_a_position_and_of_the_keys_changes_half_of_the_bits() -> None:
    from stages.retrieval.ops import hash_bits, tf

    # A row of positions, and one of each key.
    inputs = np.random.default_rng(0).integers(0, 2**32, (3, 1 << 16), dtype=np.uint32)

    def bits(inputs: np.ndarray) -> np.ndarray:
        return hash_bits(tf.constant(inputs[0]), tf.constant(inputs[1:])).numpy()

    original = bits(inputs)
    for row, bit in itertools.product(range(3), range(32)):
        changed = inputs.copy()
        changed[row] ^= np.uint32(1 << bit)
        flips = np.unpackbits((bits(changed) ^ original)[:, None].view(np.uint8), axis=1)
        statistics = (flips.mean(axis=0) - 0.5) * 2 * 256  # of a standard deviation of 1
        assert np.abs(statistics).max() < 6


def test_integers_are_below_the_limit() -> None:
    from stages.retrieval.ops import TensorFlowOps, tf

    ops = TensorFlowOps(0.5, seed=7)
    ops.begin(tf.constant(1), 0)
    numbers = ops.integers([3000], 3).numpy()
    assert np.bincount(numbers).tolist() == pytest.approx([1000] * 3, rel=0.1)
    assert (numbers != ops.integers([3000], 3).numpy()).any()


def test_compiled_code_draws_the_same_numbers() -> None:
    from stages.retrieval.ops import TensorFlowOps, tf

    ops = TensorFlowOps(0.5, seed=7)

    def draw() -> tf.Tensor:
        ops.begin(tf.constant(3), 1)
        return ops.uniform([1000])

    compiled = tf.function(draw, jit_compile=True)()
    assert compiled.numpy().tolist() == draw().numpy().tolist()


def test_dropout_scales_up_and_row_dropout_takes_whole_rows() -> None:
    from stages.retrieval.ops import TensorFlowOps, tf

    ops = TensorFlowOps(0.25, seed=3)
    ops.row_dropout_rate = 0.5
    ops.begin(tf.constant(1), 0)
    x = tf.ones([400, 3])
    values = ops.dropout(x).numpy()
    assert set(np.unique(values)) == {0, np.float32(1 / 0.75)}
    assert abs((values == 0).mean() - 0.25) < 0.05
    rows = ops.dropout_rows(x).numpy()
    assert (rows.min(axis=1) == rows.max(axis=1)).all()
    assert abs((rows[:, 0] == 0).mean() - 0.5) < 0.1
    assert TensorFlowOps(0.0, seed=3).dropout(x) is x
