import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from stages import boosters
from stages.common.stage import StageError
from stages.common.tables import DISLIKES, HISTORIES, SPLIT
from stages.feature_groups import GROUPS, Past
from stages.features import POOL_GROUPS, build_features, past, pool_features
from stages.ranker_data import add_labels, sample_negatives
from stages.ranker_inputs import as_pool
from stages.rerank import rerank
from stages.top_k import best_unseen
from stages.train_ranker import (
    Params,
    check_labels,
    for_users,
    importance,
    lightgbm_params,
    train,
    user_folds,
)

DAY = 86_400
SMALL = Params(
    learning_rate=0.1,
    num_leaves=7,
    min_data_in_leaf=5,
    feature_fraction=1.0,
    bagging_fraction=1.0,
    lambda_l2=0.0,
    max_trees=30,
    patience=5,
    folds=3,
    bags=2,
    threads=2,
)


@pytest.fixture
def world() -> tuple[Past, pl.DataFrame]:
    """Three movies, two users; user 1 liked movies 1 then 2, user 2 liked 2 but not 1."""
    catalogue = pl.DataFrame({"movie_id": [1, 2, 3], "year": [1990, None, 2000]})
    genres = pl.DataFrame({"movie_id": [1, 2, 3], "genre_A": [1, 0, 1], "genre_B": [0, 1, 1]})
    popularity = pl.DataFrame({"likings": [1, 2, 0], "popularity_rank": [2, 1, 3]})
    rows = [(1, 1, 10 * DAY, 0), (1, 2, 40 * DAY, 1), (2, 2, 39 * DAY, 0)]
    likings = pl.DataFrame(rows, schema=SPLIT, orient="row")
    vectors = pl.DataFrame(
        {"movie_id": [1, 2, 3], "embedding": np.array([[3, 0], [0, 2], [1, 1]], np.float32)}
    )
    weights = {
        "movie_ids": np.array([1, 2, 3]),
        "weights": np.array([[0, 1, 2], [3, 0, 4], [5, 6, 0]], np.float32),
    }
    queries = pl.DataFrame({"user_id": [1], "embedding": np.array([[1, 0]], np.float32)})
    dislikes = pl.DataFrame([(2, 1, 3.0)], schema=DISLIKES, orient="row")
    data = past(
        catalogue, genres, popularity, likings, dislikes, vectors, queries, {"ease": weights}
    )
    rows = [(1, [1, 2], [10 * DAY, 40 * DAY], 2), (2, [2], [39 * DAY], 1)]
    return data, pl.DataFrame(rows, schema=HISTORIES, orient="row")


def pool(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    types = {"user_id": pl.Int32, "movie_id": pl.Int32}
    table = pl.DataFrame(pairs, schema=types, orient="row")
    count = table.height
    return table.with_columns(score_x=pl.Series(range(count), dtype=pl.Float32), rank_x=pl.lit(1))


def test_features_by_hand(world: tuple[Past, pl.DataFrame]) -> None:
    data, histories = world
    table = build_features(pool([(1, 3), (2, 1), (2, 3)]), histories, data, list(GROUPS))
    row = table.filter(pl.col("user_id") == 1).row(0, named=True)
    half = 1 / np.sqrt(2)
    assert row["similarity_last_1"] == pytest.approx(half)
    assert row["similarity_mean"] == pytest.approx(half)
    assert row["tower_log_share"] == pytest.approx(1 - np.log(np.exp(3) + 1 + np.exp(1)))
    assert (row["ease_last_1"], row["ease_last_5"], row["ease_max"]) == (4, 3, 4)
    assert row["ease_decayed"] == pytest.approx(4 + 0.8 * 2)
    # Genres of the history: A once, B once; the candidate has both.
    assert row["genre_match_history"] == pytest.approx(1)
    assert row["genre_entropy"] == pytest.approx(np.log(2))
    assert (row["year"], row["popularity_rank"], row["log_likings"]) == (2000, 3, 0)
    assert row["year_gap_history"] == 10
    assert row["history_days"] == 30
    assert np.isnan(row["days_since_liked"])
    assert np.isnan(row["own_rating"])
    assert row["user_liked_share"] == 1
    row = table.filter(pl.col("user_id") == 2, pl.col("movie_id") == 1).row(0, named=True)
    # Movie 1 was liked on day 10, user 2's last liking was on day 39.
    assert row["days_since_liked"] == pytest.approx(29)
    assert row["log_likings_30_days"] == pytest.approx(np.log(2))
    assert row["log_likings_7_days"] == 0
    assert np.isnan(row["tower_log_share"])  # the retriever does not know user 2
    assert (row["own_rating"], row["log_ratings"]) == (3, pytest.approx(np.log(3)))
    assert row["user_liked_share"] == 0.5
    # Of all four ratings three are likings; five such ratings are added to the movie's two.
    assert row["liked_share"] == pytest.approx((1 + 5 * 0.75) / 7)


def test_features_know_nothing_after_the_users_last_liking(
    world: tuple[Past, pl.DataFrame],
) -> None:
    data, histories = world
    table = build_features(pool([(2, 2)]), histories, data, ["recency"])
    # User 1 liked movie 2 a day later, which is not counted for user 2.
    assert table["log_likings_30_days"].to_list() == pytest.approx([np.log(2)])
    assert table["likings_before_share"].to_list() == [0.5]


def test_features_of_a_user_do_not_depend_on_other_users(
    world: tuple[Past, pl.DataFrame],
) -> None:
    data, histories = world
    groups = [*GROUPS, *POOL_GROUPS]
    candidates = pool_features(pool([(1, 3), (2, 1), (2, 3)]), groups)
    both = build_features(candidates, histories, data, groups)
    alone = build_features(candidates[1:], histories, data, groups)
    assert both.filter(pl.col("user_id") == 2).equals(alone)


def test_pool_features_have_gaps_to_the_users_best() -> None:
    table = pool_features(pool([(1, 1), (1, 2)]), ["gap", "rank"])
    assert table.columns == ["user_id", "movie_id", "rank_x", "gap_x"]
    assert table["gap_x"].to_list() == [1, 0]


def test_a_missed_target_is_not_added() -> None:
    examples = pl.DataFrame({"user_id": [1, 1, 2], "movie_id": [5, 6, 5], "x": [1.0, 2.0, 3.0]})
    targets = pl.DataFrame({"user_id": [1, 2], "movie_id": [6, 9]})
    kept = add_labels(examples, targets, "keep")
    assert kept["label"].to_list() == [0, 1, 0]
    assert add_labels(examples, targets, "drop")["user_id"].to_list() == [1, 1]
    with pytest.raises(StageError, match="no target was retrieved"):
        add_labels(examples, targets.with_columns(movie_id=77), "keep")


def test_sampled_negatives_are_others_than_the_targets_and_as_many_as_asked() -> None:
    table = examples(users=50, each=20).drop("fold")
    drawn = sample_negatives(table, 5, seed=3)
    assert drawn.equals(sample_negatives(table, 5, seed=3))
    assert drawn.filter(pl.col("label") == 1).equals(table.filter(pl.col("label") == 1))
    assert drawn.group_by("user_id").len()["len"].to_list() == [6] * 50
    assert drawn["user_id"].is_sorted()
    assert sample_negatives(table, 100, seed=3).equals(table)


def test_a_single_generator_is_a_pool() -> None:
    table = best_unseen(np.array([1]), np.array([[7, 3]]), np.array([[2.0, 1.0]]), np.empty(0), 9)
    made = as_pool(table, "history")
    assert made.columns == ["user_id", "movie_id", "score_history", "rank_history"]
    assert made["movie_id"].to_list() == [3, 7]
    assert as_pool(made, "history") is made


def test_folds_keep_users_whole_and_use_all() -> None:
    sizes = np.array([3, 1, 4, 2, 5])
    owners = np.array([7, 8, 9, 7, 8])  # two users have two groups
    users = np.repeat(owners, sizes)
    seen = []
    for rows, held in user_folds(owners, sizes, 3, seed=0):
        assert not set(users[rows]) & set(users[held])
        assert len(rows) + len(held) == sizes.sum()
        seen += held.tolist()
    assert sorted(seen) == list(range(sizes.sum()))


def test_of_many_users_fewer_trees_learn_faster() -> None:
    assert for_users(SMALL, users=6040) == SMALL
    large = for_users(SMALL, users=10_000)
    assert (large.bags, large.max_trees) == (1, 10)
    assert large.learning_rate == pytest.approx(0.3)


def examples(users: int = 120, each: int = 20) -> pl.DataFrame:
    """One label per user, noisily told by `hint`."""
    rng = np.random.default_rng(5)
    label = np.zeros((users, each), dtype=np.uint8)
    label[np.arange(users), rng.integers(0, each, users)] = 1
    hint = label * 1.5 + rng.normal(size=label.shape)
    return pl.DataFrame(
        {
            "fold": np.zeros(users * each, dtype=np.uint8),
            "user_id": np.repeat(np.arange(users, dtype=np.int32), each),
            "movie_id": np.tile(np.arange(each, dtype=np.int32), users),
            "hint": hint.ravel().astype(np.float32),
            "noise": rng.normal(size=users * each).astype(np.float32),
            "label": label.ravel(),
        }
    )


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg", "binary"])
def test_a_ranker_learns_and_its_reranking_is_a_permutation(objective: str) -> None:
    table = examples()
    options = lightgbm_params(SMALL, objective, "ndcg", 10, seed=1)
    boosters, metric = train(table, SMALL, options, seed=1)
    assert metric > 0.5
    assert len(boosters) == 2
    assert importance(boosters)["feature"].to_list() == ["hint", "noise"]
    ordered = rerank(boosters, table, threads=2)
    keys = ["user_id", "movie_id"]
    assert ordered.select(keys).sort(keys).equals(table.select(keys).sort(keys))
    assert ordered.group_by("user_id").agg(pl.col("rank").max())["rank"].to_list() == [20] * 120
    again, _ = train(table, SMALL, options, seed=1)
    assert [b.model_to_string() for b in again] == [b.model_to_string() for b in boosters]
    values = table.select("hint", "noise").to_numpy()
    mean = np.mean([b.predict(values, raw_score=True) for b in boosters], axis=0)
    first = ordered.group_by("user_id", maintain_order=True).first()["score"]
    assert np.allclose(first, mean.reshape(120, 20).max(axis=1))


def test_trees_in_parts_score_like_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosters, "TREES_AT_ONCE", 7)
    table = examples()
    options = lightgbm_params(SMALL, "binary", "binary_logloss", 10, seed=1)
    values = table.select("hint", "noise").to_numpy()
    data = lgb.Dataset(values, table["label"].to_numpy(), params=options)
    trained = [lgb.train(options, data, num_boost_round=n) for n in (20, 21)]
    assert [booster.num_trees() for booster in trained] == [20, 21]
    wanted = np.mean([b.predict(values, raw_score=True) for b in trained], axis=0)
    assert np.allclose(boosters.mean_scores(trained, values, threads=2), wanted)


def test_a_planted_leak_is_caught() -> None:
    table = examples().with_columns(leak=pl.col("label").cast(pl.Float32) * 2 - 3)
    with pytest.raises(StageError, match="leak: tells the label of 100% of users; it leaks"):
        check_labels(table, ["hint", "noise", "leak"])
    with pytest.raises(StageError, match="leak: tells the label"):
        check_labels(table.with_columns(-pl.col("leak")), ["hint", "leak"])
    check_labels(table, ["hint", "noise"])


@pytest.mark.parametrize("injected", ["lowest", "null"])
def test_injecting_the_answer_into_the_candidates_is_caught(injected: str) -> None:
    # The classic leak: a target that was missed is appended below its user's lowest score.
    below = pl.col("hint").min().over("user_id") - 0.001 if injected == "lowest" else None
    score = pl.when(pl.col("label") == 1).then(below).otherwise(pl.col("hint"))
    with pytest.raises(StageError, match="score: tells the label"):
        check_labels(examples().with_columns(score=score), ["hint", "score"])


def test_training_on_the_test_targets_is_caught() -> None:
    # Popularity that has counted the target itself puts it above every other tied candidate.
    table = examples().with_columns(likings=pl.lit(3.0) + pl.col("label"))
    options = lightgbm_params(SMALL, "lambdarank", "ndcg", 10, seed=1)
    with pytest.raises(StageError, match="likings: tells the label"):
        train(table, SMALL, options, seed=1)
