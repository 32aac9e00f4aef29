import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from stages.common.stage import StageError
from stages.train_ranker import (
    MANY_USERS,
    check_labels,
    importance,
    lightgbm_params,
    scale_to_users,
    train,
)
from tests.stages.examples import SMALL, noisy_examples, ranker_params


def test_the_queries_of_a_user_are_in_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    # 120 queries of 40 users, who have one query in each third of the rows.
    table = noisy_examples().with_columns(source_user_id=pl.col("user_id") % 40)
    calls: list[tuple] = []
    cross_validate = lgb.cv

    def spy(*arguments: object, folds: list[tuple], **options: object) -> dict:
        calls.append(folds)
        return cross_validate(*arguments, folds=folds, **options)

    monkeypatch.setattr("stages.train_ranker.lgb.cv", spy)
    options = lightgbm_params(SMALL, ranker_params("lambdarank"), seed=1)
    boosters, *_ = train(table, SMALL, options, seed=1)
    assert importance(boosters)["feature"].to_list() == ["hint", "noise"]
    (folds,) = calls
    users = table["source_user_id"].to_numpy()
    assert len(folds) == SMALL.nfold
    for train_rows, validation_rows in folds:
        assert not set(users[train_rows]) & set(users[validation_rows])
        assert len(train_rows) + len(validation_rows) == table.height
    assert sorted(np.concatenate([rows for _, rows in folds])) == list(range(table.height))
    two_users = table.with_columns(source_user_id=pl.col("user_id") % 2)
    with pytest.raises(StageError, match=r"^lightgbm.nfold: 3 folds of 2 users; set it lower$"):
        train(two_users, SMALL, options, seed=1)


def test_a_training_says_how_far_it_is_unless_it_is_one_of_several_workers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("stages.cli.progress.LINE_SECONDS", 0.0)
    options = lightgbm_params(SMALL, ranker_params("lambdarank"), seed=1)
    train(noisy_examples(), SMALL, options, seed=1)
    lines = capsys.readouterr().err.splitlines()
    rounds = SMALL.num_boost_round
    start = f"trees of the cross-validation: 1 of at most {rounds}, ndcg@10 0."
    assert lines[0].startswith(start), lines[0]
    assert lines[-1].startswith(f"trees of booster {SMALL.ensemble_size}: ")
    train(noisy_examples(), SMALL, options, seed=1, num_users=120)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("num_users", "num_folds"), [(None, 3), (MANY_USERS, 3), (MANY_USERS + 1, 1)]
)
def test_the_best_round_of_the_cross_validation_is_the_number_of_trees(
    num_users: int | None, num_folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cross_validate(*arguments: object, folds: list[tuple], **options: object) -> dict:
        assert len(folds) == num_folds
        means = {"valid ndcg@10-mean": [0.2, 0.5, 0.4, 0.6], "valid ndcg@10-stdv": [0.0] * 4}
        return {**means, "cvbooster": lgb.CVBooster()}

    monkeypatch.setattr("stages.train_ranker.lgb.cv", cross_validate)
    options = lightgbm_params(SMALL, ranker_params("lambdarank"), seed=1)
    boosters, metric, _ = train(noisy_examples(), SMALL, options, seed=1, num_users=num_users)
    assert [booster.num_trees() for booster in boosters] == [4, 4]
    assert metric == 0.6


def test_the_booster_of_a_fold_has_learned_from_the_other_users_only() -> None:
    table = noisy_examples()
    options = lightgbm_params(SMALL, ranker_params("binary"), seed=1)
    params = SMALL.model_copy(update={"num_boost_round": 3, "early_stopping_rounds": 9})
    trained = train(table, params, options, seed=1)
    users, texts = trained.folds
    assert sorted(users["source_user_id"]) == list(range(120))
    assert users["fold"].value_counts()["count"].to_list() == [40] * 3
    values, labels = table.select("hint", "noise").to_numpy(), table["label"].to_numpy()
    # The bins of the cross-validation are those of all rows.
    data = lgb.Dataset(values, labels, group=[20] * 120, params=options).construct()
    for fold, text in enumerate(texts):
        booster = lgb.Booster(model_str=text)
        assert booster.num_trees() == trained.boosters[0].num_trees()
        others = users.filter(pl.col("fold") != fold)["source_user_id"]
        rows = np.flatnonzero(table["user_id"].is_in(others.implode()))
        again = lgb.train(options, data.subset(rows), num_boost_round=booster.num_trees())
        assert np.array_equal(booster.predict(values), again.predict(values))


def test_with_many_users_fewer_trees_learn_faster() -> None:
    assert scale_to_users(SMALL, users=6040) == SMALL
    large = scale_to_users(SMALL, users=10_000)
    assert (large.ensemble_size, large.num_boost_round) == (1, 10)
    assert large.learning_rate == pytest.approx(0.3)


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg", "binary"])
def test_a_ranker_learns_and_equal_inputs_give_equal_trees(objective: str) -> None:
    table = noisy_examples()
    options = lightgbm_params(SMALL, ranker_params(objective), seed=1)
    boosters, metric, _ = train(table, SMALL, options, seed=1)
    assert metric > 0.5
    assert len(boosters) == 2
    assert importance(boosters)["feature"].to_list() == ["hint", "noise"]
    assert importance(boosters)["gain_share"].sum() == pytest.approx(1)
    repetition, *_ = train(table, SMALL, options, seed=1)
    texts = [booster.model_to_string() for booster in boosters]
    assert [booster.model_to_string() for booster in repetition] == texts
    assert texts[0] != texts[1]


def test_fewer_users_than_folds_are_one_line() -> None:
    options = lightgbm_params(SMALL, ranker_params("binary"), seed=1)
    with pytest.raises(StageError, match=r"^lightgbm.nfold: 3 folds of 2 users; set it lower$"):
        train(noisy_examples(users=2), SMALL, options, seed=1)


def test_a_planted_leak_is_caught() -> None:
    table = noisy_examples().with_columns(leak=pl.col("label").cast(pl.Float32) * 2 - 3)
    message = r"^leak: predicts the label of 100% of users, so it leaks the label; "
    with pytest.raises(StageError, match=message):
        check_labels(table, ["hint", "noise", "leak"])
    with pytest.raises(StageError, match="leak: predicts the label"):
        check_labels(table.with_columns(-pl.col("leak")), ["hint", "leak"])
    check_labels(table, ["hint", "noise"])


@pytest.mark.parametrize("value", ["lowest", "null"])
def test_a_target_that_is_appended_to_the_candidates_is_caught(value: str) -> None:
    # The classic leak: a target that was missed is appended below its user's lowest score.
    below = pl.col("hint").min().over("user_id") - 0.001 if value == "lowest" else None
    score = pl.when(pl.col("label") == 1).then(below).otherwise(pl.col("hint"))
    with pytest.raises(StageError, match="score: predicts the label"):
        check_labels(noisy_examples().with_columns(score=score), ["hint", "score"])


def test_a_feature_that_counts_the_target_is_caught_in_training() -> None:
    # Popularity that has counted the target itself ranks it above all other tied candidates.
    table = noisy_examples().with_columns(positives=pl.lit(3.0) + pl.col("label"))
    options = lightgbm_params(SMALL, ranker_params("lambdarank"), seed=1)
    with pytest.raises(StageError, match="positives: predicts the label"):
        train(table, SMALL, options, seed=1)
