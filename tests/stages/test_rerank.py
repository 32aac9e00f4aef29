import contextlib
import shutil
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from stages import rerank as stage
from stages.models.boosters import parse_boosters
from stages.ranking.scorer import Scorer
from stages.rerank import rerank, rerank_out_of_fold
from stages.train_ranker import lightgbm_params, train
from tests.damage import assert_damage_is_refused
from tests.stages.examples import SMALL, noisy_examples, ranker_params
from tests.tiny_chain import FEATURE_SOURCES


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg", "binary"])
def test_reranking_is_a_permutation_by_the_mean_score(objective: str) -> None:
    table = noisy_examples()
    options = lightgbm_params(SMALL, ranker_params(objective), seed=1)
    boosters, *_ = train(table, SMALL, options, seed=1)
    ordered = rerank(Scorer(boosters), table, threads=2)
    keys = ["user_id", "movie_id"]
    assert ordered.select(keys).sort(keys).equals(table.select(keys).sort(keys))
    assert ordered.group_by("user_id").agg(pl.col("rank").max())["rank"].to_list() == [20] * 120
    values = table.select("hint", "noise").to_numpy()
    means = np.mean([b.predict(values, raw_score=True) for b in boosters], axis=0)
    best = ordered.group_by("user_id", maintain_order=True).first()["score"]
    assert np.allclose(best, means.reshape(120, 20).max(axis=1))


def test_features_are_taken_by_their_names_in_the_order_of_the_boosters() -> None:
    table = noisy_examples()
    options = lightgbm_params(SMALL, ranker_params("lambdarank"), seed=1)
    boosters, *_ = train(table, SMALL, options, seed=1)
    ordered = rerank(
        Scorer(boosters), table.select("user_id", "movie_id", "hint", "noise"), threads=1
    )
    columns = ["noise", "movie_id", "other", "hint", "user_id"]
    shuffled = table.with_columns(other=pl.lit(1.0)).select(columns)
    assert rerank(Scorer(boosters), shuffled, threads=1).equals(ordered)


def test_rows_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    table = noisy_examples()
    options = lightgbm_params(SMALL, ranker_params("lambdarank"), seed=1)
    boosters, *_ = train(table, SMALL, options, seed=1)
    ordered = rerank(Scorer(boosters), table, threads=1)
    monkeypatch.setattr(stage, "SCORE_ROWS", 7)
    assert rerank(Scorer(boosters), table, threads=1).equals(ordered)
    assert rerank(Scorer(boosters), table[:0], threads=1).equals(ordered[:0])


def test_equal_scores_are_ordered_by_movie() -> None:
    table = noisy_examples(users=3, candidates=5).sample(fraction=1, shuffle=True, seed=1)
    values, labels = table.select("hint", "noise").to_numpy(), table["label"].to_numpy()
    data = lgb.Dataset(values, labels, feature_name=["hint", "noise"])
    constant = lgb.train({"verbosity": -1, "min_data_in_leaf": 1000}, data, num_boost_round=1)
    ordered = rerank(Scorer([constant]), table, threads=1)
    assert ordered["score"].n_unique() == 1
    assert ordered["movie_id"].to_list() == [*range(5)] * 3
    assert ordered["rank"].to_list() == [1, 2, 3, 4, 5] * 3


def test_a_user_is_ranked_by_the_booster_that_has_not_seen_them() -> None:
    table = noisy_examples()
    options = lightgbm_params(SMALL, ranker_params("lambdarank"), seed=1)
    folds = train(table, SMALL, options, seed=1).folds
    users = folds.users.select("source_user_id", "fold", user_id="source_user_id")
    features = table.drop("source_user_id")
    scorers = [Scorer([booster]) for booster in parse_boosters(folds.boosters)]
    lists = rerank_out_of_fold(folds.users, scorers, features, users, threads=1)
    assert lists.height == table.height
    for fold, scorer in enumerate(scorers):
        rows = features.join(users.filter(fold=fold), on="user_id", how="semi")
        expected = rerank(scorer, rows, threads=1)
        assert lists.join(rows, on="user_id", how="semi").equals(expected)
    first = rerank_out_of_fold(folds.users, scorers[:1], features, users, threads=1)
    assert set(first["user_id"]) == set(users.filter(fold=0)["user_id"])


def test_a_damaged_booster_is_one_line_and_no_dead_process(tiny_run: Path, tmp_path: Path) -> None:
    models = Path(shutil.copytree(tiny_run / "data" / "models" / "rankers", tmp_path / "rankers"))
    path, lists = models / "basic" / "0.txt", tmp_path / "lists"
    arguments = "basic", models, FEATURE_SOURCES, lists
    with contextlib.chdir(tiny_run):
        assert_damage_is_refused(path, lambda: stage.main(*arguments))
    assert not lists.exists()
