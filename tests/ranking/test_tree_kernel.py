import lightgbm as lgb
import numpy as np
import pytest

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


def sum_trees(boosters: list[lgb.Booster], values: np.ndarray, begin: int, end: int) -> np.ndarray:
    trees = read_trees(boosters, 100)
    assert trees is not None
    return kernel.sum_trees(np.asfortranarray(values), begin, end, *trees)


@pytest.mark.parametrize("leaves", [2, 31, 32, 50])
@pytest.mark.parametrize("missing", [False, True])
def test_sums_equal_those_of_lightgbm_bit_for_bit(leaves: int, missing: bool) -> None:
    boosters = [train(seed, 120, leaves, missing) for seed in range(2)]
    values = edge_values(boosters, 1000)
    expected = mean_scores(boosters, values, threads=1)
    assert np.ptp(expected) > 1
    assert (sum_trees(boosters, values, 0, 1000) / 2 == expected).all()


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
