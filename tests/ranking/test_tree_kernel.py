import os

import lightgbm as lgb
import numpy as np
import pytest

from stages.models import boosters as boosters_module
from stages.models.boosters import mean_scores
from stages.ranking.trees import read_trees

kernel = pytest.importorskip("stages.ranking.tree_kernel")
FEATURES = 6


def train(seed: int, trees: int, leaves: int, missing: bool) -> lgb.Booster:
    """A model whose columns 0 and 1 miss values, which mean a high label in the first only."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3000, FEATURES)).astype(np.float32)
    label = values.sum(axis=1) + rng.normal(size=3000)
    if missing:
        for column, low in ((0, False), (1, True)):
            rows = rng.random(3000) < 0.3
            values[rows, column] = np.nan
            label[rows] += -5 if low else 5
    params = {"verbosity": -1, "num_threads": 1, "num_leaves": leaves, "min_data_in_leaf": 3}
    return lgb.train(params | {"seed": seed}, lgb.Dataset(values, label), trees)


def edge_values(boosters: list[lgb.Booster], rows: int) -> np.ndarray:
    """Rows at and around the thresholds of the models, with NaN and infinities."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    thresholds = np.concatenate([read_trees([b], 100).thresholds for b in boosters])
    near = rng.choice(thresholds, values.shape)
    near = np.nextafter(near, rng.choice([-9, 0, 9], near.shape).astype(np.float32) + near)
    values = np.where(rng.random(values.shape) < 0.4, near, values)
    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], values.shape).astype(np.float32)
    return np.where(rng.random(values.shape) < 0.2, special, values)


def sum_trees(
    boosters: list[lgb.Booster], values: np.ndarray, begin: int, end: int, trees_per_pass: int = 100
) -> np.ndarray:
    trees = read_trees(boosters, trees_per_pass)
    assert trees is not None
    return kernel.sum_trees(np.asfortranarray(values), begin, end, *trees)


@pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="takes minutes in Python")
@pytest.mark.parametrize("leaves", [2, 31, 32, 50])
@pytest.mark.parametrize("missing", [False, True])
def test_sums_equal_those_of_lightgbm_bit_for_bit(leaves: int, missing: bool) -> None:
    boosters = [train(seed, 120, leaves, missing) for seed in range(2)]
    values = edge_values(boosters, 1000)
    expected = mean_scores(boosters, values, threads=1)
    assert np.ptp(expected) > 1
    assert (sum_trees(boosters, values, 0, 1000) / 2 == expected).all()


@pytest.mark.parametrize("leaves", [2, 32, 50])
def test_sums_of_small_passes_equal_those_of_lightgbm(
    leaves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosters_module, "TREES_PER_PASS", 3)
    boosters = [train(seed, 7, leaves, True) for seed in range(2)]
    values = edge_values(boosters, 150)
    values[:, 3] = np.resize(np.array([1e-35, -1e-35, 1.1e-35, -1.1e-35], np.float32), 150)
    expected = mean_scores(boosters, values, threads=1)
    assert (sum_trees(boosters, values, 0, 150, trees_per_pass=3) / 2 == expected).all()


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 128), (5, 134), (299, 300), (7, 7)])
def test_any_part_of_the_rows_can_be_scored(begin: int, end: int) -> None:
    boosters = [train(1, 10, 31, True)]
    values = edge_values(boosters, 300)
    sums = sum_trees(boosters, values, begin, end)
    assert np.array_equal(sums, sum_trees(boosters, values, 0, 300)[begin:end])
    assert len(sums) == end - begin


def test_trees_of_one_leaf_add_their_value() -> None:
    values, label = np.zeros((100, FEATURES)), np.arange(100.0)
    booster = lgb.train({"verbosity": -1, "num_threads": 1}, lgb.Dataset(values, label), 3)
    sums = sum_trees([booster, train(1, 2, 31, True)], np.zeros((2, FEATURES), np.float32), 0, 2)
    expected = mean_scores([booster, train(1, 2, 31, True)], np.zeros((2, FEATURES)), 1)
    assert (sums / 2 == expected).all()
    assert expected[0] > 20


def test_values_that_lightgbm_takes_for_zero_are_zero() -> None:
    rng = np.random.default_rng(4)
    label = rng.integers(0, 2, 400)
    columns = np.zeros((400, FEATURES))
    columns[:, 2] = -label  # the threshold between -1 and 0 is the largest value below 0
    booster = lgb.train({"verbosity": -1, "num_threads": 1}, lgb.Dataset(columns, label), 2)
    values = np.zeros((5, FEATURES), np.float32)
    values[:, 2] = [-1, np.nextafter(-kernel.ZERO, np.float32(-1)), -kernel.ZERO, kernel.ZERO, 0]
    expected = booster.predict(values, raw_score=True, num_threads=1)
    assert expected[0] == expected[1] > expected[2] == expected[3] == expected[4]
    assert np.array_equal(sum_trees([booster], values, 0, 5), expected)
