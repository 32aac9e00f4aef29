from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from stages.common.stage import StageError
from stages.models import boosters
from stages.models.boosters import booster_text, mean_scores, parse_boosters, read_booster_texts


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Two models, of 25 and of 30 trees, on three features."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3))
    label = values[:, 0] + rng.normal(size=200)
    models = []
    for seed in range(2):
        params = {"verbose": -1, "num_threads": 1, "seed": seed, "bagging_fraction": 0.5}
        params |= {"bagging_freq": 1, "min_data_in_leaf": 5}
        models.append(
            lgb.train(params, lgb.Dataset(values, label), 25 + 5 * seed).model_to_string()
        )
    return models


def test_scores_are_the_mean_of_the_boosters(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosters, "TREES_PER_PASS", 10)
    models = parse_boosters(texts)
    values = np.random.default_rng(1).normal(size=(50, 3))
    expected = np.mean([model.predict(values, raw_score=True) for model in models], axis=0)
    assert np.allclose(mean_scores(models, values, threads=1), expected, atol=1e-12)
    assert np.ptp(expected) > 0.1


def test_a_text_does_not_say_how_many_threads_trained_it() -> None:
    values = np.random.default_rng(0).normal(size=(500, 3))
    params = {"verbose": -1, "deterministic": True, "force_row_wise": True}
    boosters_of_threads = [
        lgb.train(params | {"num_threads": n}, lgb.Dataset(values, values[:, 0]), 3)
        for n in (0, 1, 2)
    ]
    texts = {booster_text(booster) for booster in boosters_of_threads}
    assert texts == {boosters_of_threads[0].model_to_string()}
    (text,) = texts
    assert "[num_threads: 0]" in text
    assert booster_text(boosters_of_threads[1], 2).count("\nTree=") == 2


def test_boosters_are_read_in_the_order_of_their_files(tmp_path: Path) -> None:
    for name in ("1", "0"):
        (tmp_path / f"{name}.txt").write_text(f"tree {name}")
    assert read_booster_texts(tmp_path) == ["tree 0", "tree 1"]


def test_missing_and_damaged_boosters_are_one_line(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(StageError, match=r": has no booster; run `dvc repro`$"):
        read_booster_texts(tmp_path)
    line = r"^ranker: cannot be read \(.*\); delete it and repro$"
    text = texts[0]
    # LightGBM itself would end the process at some of these.
    for end in range(0, text.index("end of trees"), 97):
        with pytest.raises(StageError, match=line):
            parse_boosters([texts[1], text[:end]])
    with pytest.raises(StageError, match=line):
        parse_boosters(["\nend of trees\n"])
