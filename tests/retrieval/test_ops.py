import numpy as np

from stages.models.towers import encode
from tests.retrieval.small_models import train_small


def test_numpy_and_tensorflow_encode_alike(tables: dict) -> None:
    from stages.retrieval.ops import TensorFlowOps

    fit, _ = train_small("history", tables, epochs=1)
    ids = np.array([[-1, -1, -1, 5, 4, 3, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7]])
    gaps = np.array([[0, 0, 0, 0, 2, 31, 1, 0], [0, 20, 0, 0, 1, 1, 1, 5]])
    arguments = gaps, int(fit.arrays["num_heads"]), int(fit.arrays["num_blocks"])
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
