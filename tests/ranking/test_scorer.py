import sys

import lightgbm as lgb
import numpy as np
import pytest

from stages.models.boosters import mean_scores
from stages.ranking import scorer as module
from stages.ranking.scorer import Scorer


@pytest.fixture(scope="module")
def boosters() -> list[lgb.Booster]:
    """Two models of ten trees on three features."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 3))
    params = {"verbosity": -1, "num_threads": 1, "bagging_fraction": 0.5, "bagging_freq": 1}
    data = [lgb.Dataset(values, values[:, 0] + rng.normal(size=500)) for _ in range(2)]
    return [lgb.train(params | {"seed": n}, data[n], 10) for n in range(2)]


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(700, 3)).astype(np.float32)


def test_trees_are_compiled_once_lightgbm_has_scored_enough_pairs(
    boosters: list[lgb.Booster], values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(module, "COMPILED_FROM", 3 * values.shape[0] * 20)
    monkeypatch.setattr(module, "CHUNK_ROWS", 300)  # three parts
    scorer = Scorer(boosters)
    expected = mean_scores(boosters, values, 1)
    for compiled in (False, False, True, True):
        assert np.array_equal(scorer.scores(values, 1), expected)
        assert (scorer.trees is not None) is compiled
    monkeypatch.setattr(module, "mean_scores", None)  # not called any more
    assert np.array_equal(scorer.scores(values, 1), expected)
    assert scorer.scores(values[:0], 1).shape == (0,)


def test_compiling_is_for_the_arrays_of_requests(
    boosters: list[lgb.Booster], values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    layouts = []

    def record(array: np.ndarray, *rest: object) -> np.ndarray:
        layouts.append((array.dtype, array.flags.c_contiguous, array.flags.f_contiguous))
        return np.zeros(len(array))

    monkeypatch.setattr("stages.ranking.tree_kernel.sum_trees", record)
    scorer = Scorer(boosters)
    scorer.compile_trees()
    scorer.scores(values, 1)
    assert layouts == [(np.float32, False, True)] * 2


def test_without_numba_lightgbm_computes_the_scores(
    boosters: list[lgb.Booster], values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stages.ranking.tree_kernel", None)
    scorer = Scorer(boosters)
    scorer.compile_trees()
    assert scorer.trees is None
    assert np.array_equal(scorer.scores(values, 1), mean_scores(boosters, values, 1))


def test_lightgbm_scores_values_that_are_not_float32(
    boosters: list[lgb.Booster],
) -> None:
    pytest.importorskip("numba")
    scorer = Scorer(boosters)
    scorer.compile_trees()
    assert scorer.trees is not None
    # Between a threshold as float32, rounded down, and the threshold.
    precise = np.repeat(scorer.trees.thresholds.astype(np.float64)[:, None] + 1e-12, 3, axis=1)
    assert np.array_equal(scorer.scores(precise, 1), mean_scores(boosters, precise, 1))
    assert scorer.features == boosters[0].feature_name()


def test_lightgbm_scores_trees_that_the_compiled_code_cannot(values: np.ndarray) -> None:
    label = np.arange(500) % 7
    params = {"verbosity": -1, "num_threads": 1, "linear_tree": True}
    booster = lgb.train(params, lgb.Dataset(values[:500], label, params=params), 3)
    scorer = Scorer([booster])
    scorer.compile_trees()
    assert scorer.trees is None
    assert np.array_equal(scorer.scores(values, 1), booster.predict(values, raw_score=True))


def test_trees_that_cannot_be_compiled_are_read_once(
    boosters: list[lgb.Booster], values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    calls = []
    monkeypatch.setattr(module, "read_trees", lambda *_: calls.append(1))
    monkeypatch.setattr(module, "COMPILED_FROM", 1)
    scorer = Scorer(boosters)
    for _ in range(3):
        assert np.array_equal(scorer.scores(values, 1), mean_scores(boosters, values, 1))
    assert len(calls) == 1


def test_the_code_is_compiled_for_the_columns_that_are_scored_later(
    boosters: list[lgb.Booster], values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = pytest.importorskip("stages.ranking.tree_kernel")
    kinds = []

    def note(columns: np.ndarray, begin: int, end: int, *_: np.ndarray) -> np.ndarray:
        kinds.append((columns.dtype, columns.shape[1], columns.flags.f_contiguous))
        return np.zeros(end - begin)

    monkeypatch.setattr(kernel, "sum_trees", note)
    scorer = Scorer(boosters)
    scorer.compile_trees()
    assert len(kinds) == 1
    scorer.scores(values, 1)
    assert set(kinds) == {(np.dtype(np.float32), 3, True)}


def test_lightgbm_uses_the_given_number_of_threads(
    boosters: list[lgb.Booster], values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "mean_scores", lambda *arguments: arguments)
    models, rows, threads = Scorer(boosters).scores(values, 3)
    assert (models, threads) == (boosters, 3)
    assert np.array_equal(rows, values)
