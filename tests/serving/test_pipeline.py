"""Serving from the bundle gives what the pipeline's own stages give."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.common.files import read_arrays
from stages.common.stage import StageError
from stages.common.tables import RECOMMENDATIONS, SEEN
from stages.models.towers import movie_embeddings
from stages.ranking.scorer import Scorer
from stages.rerank import rerank
from stages.serving import pipeline
from stages.serving.bundle import Settings
from stages.serving.pipeline import NEW_USER, SERVED, ServingPipeline, check_code
from tests.serving.bundles import export_ranker

ALL = 10_000


@pytest.mark.parametrize("ranker", ["basic", "history", "hit"])
def test_every_user_of_the_data_gets_the_pipelines_list(
    tiny_run: Path, tmp_path: Path, ranker: str
) -> None:
    bundle = export_ranker(tiny_run, ranker, tmp_path).with_name("bundle_as_evaluated")
    recommender = ServingPipeline(bundle)
    expected = pl.read_parquet(
        tiny_run / "data" / "recommendations" / f"ranker_{ranker}" / "test.parquet"
    )
    assert expected["user_id"].unique().sort().to_list() == recommender.users.tolist()
    in_bulk = pl.concat(recommender.for_users(recommender.users, ALL))
    assert in_bulk.select(RECOMMENDATIONS.names()).equals(expected)
    one_by_one = pl.concat(
        [recommender.for_person(int(user), [], ALL) for user in recommender.users]
    )
    keys = ["user_id", "movie_id", "rank"]
    assert one_by_one.select(keys).equals(expected.select(keys))
    assert np.allclose(one_by_one["score"], expected["score"], atol=1e-4)
    assert one_by_one.drop("score").equals(in_bulk.drop("score"))


def test_batches_and_the_order_of_the_users_change_nothing(
    recommender: ServingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_batch = pl.concat(recommender.for_users(recommender.users, 5))
    monkeypatch.setattr("stages.serving.pipeline.SERVING_BATCH_USERS", 7)
    batch_sizes: list[int] = []
    users = np.concatenate([recommender.users[::-1], recommender.users[:3]])
    batches = list(recommender.for_users(users, 5, batch_sizes.append))
    assert pl.concat(batches).drop("score").equals(one_batch.drop("score"))
    assert sum(batch_sizes) == len(recommender.users)
    assert max(batch_sizes) == 7


def test_served_generators_are_those_with_the_movie_and_its_rank_there(
    tiny_run: Path, recommender_as_evaluated: ServingPipeline
) -> None:
    recommender = recommender_as_evaluated
    user = int(recommender.users[4])
    served = recommender.for_person(user, [], 3)
    for movie, generators in served.select("movie_id", "generators").iter_rows():
        expected = []
        for name in recommender.settings.generators:
            table = pl.read_parquet(tiny_run / f"data/candidates/{name}/test.parquet")
            rows = table.filter(pl.col("user_id") == user, pl.col("movie_id") == movie)
            expected += [f"{name} {rank}" for rank in rows["rank"]]
        assert generators == expected


def test_nobody_is_recommended_a_movie_that_they_have_rated(
    tiny_run: Path, recommender: ServingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommender, "candidate_limit", ALL)  # serve the whole lists
    seen = recommender.seen
    ratings = pl.read_parquet(tiny_run / "data" / "ratings.parquet")
    assert set(seen.select("user_id", "movie_id").rows()) == set(
        ratings.select("user_id", "movie_id").rows()
    )
    assert set(seen["user_id"]) == set(recommender.users)
    assert 0 < seen["positive"].sum() < seen.height
    pair = ["user_id", "movie_id"]
    in_bulk = pl.concat(recommender.for_users(recommender.users, ALL))
    assert in_bulk.height
    assert in_bulk.join(seen, on=pair, how="semi").is_empty()
    for user in recommender.users[:5]:
        known = seen.filter(user_id=user)["movie_id"]
        alone = recommender.for_person(int(user), [], ALL)["movie_id"]
        assert not set(known) & set(alone)
        assert len(alone) >= recommender.settings.candidates
        with_movie = recommender.for_person(int(user), [alone[0]], ALL)["movie_id"]
        assert not {*known, alone[0]} & set(with_movie)


def test_a_new_user_gets_unseen_movies_from_all_generators(recommender: ServingPipeline) -> None:
    served = recommender.for_person(NEW_USER, [3, 7, 3], 8)
    assert served.height == 8
    assert served.schema == SERVED
    assert not {3, 7} & set(served["movie_id"])
    assert served["rank"].to_list() == list(range(1, 9))
    generators = {entry.split()[0] for entry in served["generators"].explode()}
    assert generators == set(recommender.settings.generators)
    assert {"id", "genre", "hard_negative"} < generators
    assert set(served["explanation_id"].drop_nulls()) <= {3, 7}


@pytest.mark.parametrize("name", ["id", "genre", "hard_negative"])
def test_a_two_tower_retriever_scores_a_new_users_movies_by_the_vectors_of_the_liked_ones(
    name: str, tiny_run: Path, recommender: ServingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommender, "candidate_limit", ALL)  # serve the whole list
    count = recommender.settings.candidates
    model = read_arrays(tiny_run / "data" / "models" / "retrievers" / name / "serve.npz")
    ids, vectors = movie_embeddings(model)
    lists = []
    for liked in ([3, 7], [8, 12, 20]):
        rows = vectors[np.searchsorted(ids, liked), :-1]
        weights = 1 / np.arange(len(liked), 0, -1)  # the newest movie is the last one
        mean = (rows.mean(axis=0) + np.average(rows, axis=0, weights=weights)) / 2
        scores = vectors[:, :-1] @ (mean @ model["fold_in"]) + vectors[:, -1]
        order = ids[np.argsort(-scores, kind="stable")]
        expected = [int(movie) for movie in order if movie not in liked]
        served = recommender.for_person(NEW_USER, liked, ALL)
        ranks = {
            int(entry.removeprefix(f"{name} ")): movie
            for movie, generators in served.select("movie_id", "generators").iter_rows()
            for entry in generators
            if entry.startswith(f"{name} ")
        }
        assert ranks == dict(enumerate(expected[:count], start=1))
        lists.append(expected)
    assert [m for m in lists[0] if m in lists[1]] != [m for m in lists[1] if m in lists[0]]


def test_a_movie_that_a_user_also_likes_changes_the_list_and_is_not_recommended(
    recommender: ServingPipeline,
) -> None:
    user = int(recommender.users[0])
    without = recommender.for_person(user, [], ALL)
    movie = without["movie_id"][0]
    with_movie = recommender.for_person(user, [movie], ALL)
    assert movie not in with_movie["movie_id"]
    assert not with_movie["score"].head(5).equals(without["score"][1:6])
    positive = recommender.seen_by(np.array([user])).filter("positive")["movie_id"][0]
    assert recommender.for_person(user, [positive], ALL).equals(without)


def recommend_with(recommender: ServingPipeline, user: int, movie: int) -> pl.DataFrame:
    """All recommendations to `user` with `movie` as the newest positive."""
    length = recommender.settings.max_length
    seen = recommender.seen_by(np.array([user]))
    now = seen["timestamp"].max()
    history = recommender.histories.filter(pl.col("user_id") == user).with_columns(
        pl.concat_list("history", pl.lit(movie, pl.Int32)).list.tail(length),
        pl.concat_list("timestamps", pl.lit(now, pl.Int64)).list.tail(length),
        pl.col("history_length") + 1,
    )
    seen = seen.filter(pl.col("movie_id") != movie)
    added = pl.DataFrame([(user, movie, True, 0, now)], schema=seen.schema, orient="row")
    older = seen.with_columns(pl.col("age") + 1)
    return recommender.recommend(history, pl.concat([older, added]), ALL)


def test_a_movie_that_a_user_also_likes_is_the_newest_of_the_history(
    recommender: ServingPipeline,
) -> None:
    user = int(recommender.users[3])
    movie = recommender.for_person(user, [], 1)["movie_id"][0]
    expected = recommend_with(recommender, user, movie)
    assert recommender.for_person(user, [movie], ALL).equals(expected)


def test_a_movie_that_a_user_rated_low_and_now_likes_is_a_positive(
    recommender: ServingPipeline,
) -> None:
    user, movie = recommender.seen.filter(~pl.col("positive")).row(0)[:2]
    without = recommender.for_person(user, [], ALL)
    with_movie = recommender.for_person(user, [movie], ALL)
    assert movie not in without["movie_id"]
    assert movie not in with_movie["movie_id"]
    assert not with_movie["score"].head(5).equals(without["score"].head(5))
    assert with_movie.equals(recommend_with(recommender, user, movie))


def test_the_seen_movies_are_those_of_the_given_users(recommender: ServingPipeline) -> None:
    for users in (recommender.users[4:5], recommender.users[[1, 6]], recommender.users):
        expected = recommender.seen.filter(pl.col("user_id").is_in(users))
        assert recommender.seen_by(users).equals(expected)
        assert expected["user_id"].n_unique() == len(users)


def test_who_has_seen_all_movies_has_no_candidates(recommender: ServingPipeline) -> None:
    user = int(recommender.users[0])
    movies = recommender.catalogue.select(
        "movie_id", user_id=user, positive=True, age=pl.int_range(pl.len()), timestamp=0
    ).select(SEEN.names())
    ranked, merged = recommender.rank(recommender.histories[:1], movies.cast(dict(SEEN)))
    assert (ranked.height, merged.height) == (0, 0)
    assert ranked.schema == RECOMMENDATIONS


def test_a_person_is_served_by_one_thread_and_users_in_bulk_by_all(
    recommender: ServingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def note(scorer: Scorer, features: pl.DataFrame, threads: int) -> pl.DataFrame:
        counts.append(threads)
        return rerank(scorer, features, threads)

    monkeypatch.setattr(pipeline, "thread_count", lambda: 3)
    monkeypatch.setattr(pipeline, "rerank", note)
    monkeypatch.setattr(pipeline.faiss, "omp_set_num_threads", counts.append)
    recommender.for_person(42, [], 3)
    list(recommender.for_users(recommender.users[:2], 3))
    assert counts == [1, 1, 3, 3]


def test_users_without_a_positive_are_named(recommender: ServingPipeline) -> None:
    with pytest.raises(StageError, match=r"user 999: has no positive; give others"):
        recommender.for_person(999, [], 3)
    users = np.array([1, *range(900, 910)])
    with pytest.raises(StageError, match=r"user 900, 901, 902, 903, 904 and 5 more: has no"):
        list(recommender.for_users(users, 3))


def test_a_user_without_a_positive_is_named_as_in_the_raw_data(
    recommender: ServingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = pl.DataFrame({"user_id": [1, 900], "raw_id": ["ann", "bob"]})
    monkeypatch.setattr(recommender, "user_ids", ids)
    with pytest.raises(StageError, match=r"^user bob: has no positive; give others"):
        recommender.for_person(900, [], 3)


def test_a_bundle_of_other_code_is_refused() -> None:
    settings = Settings(
        ranker="history",
        generators=["ease", "history"],
        candidates=5,
        max_candidates=100,
        fusion_k=60.0,
        retriever="history",
        feature_groups=["rank", "genre"],
        max_length=8,
    )
    check_code(settings, {"history"})
    other = settings.model_copy(update={"generators": ["cooccurrence"]})
    with pytest.raises(StageError, match=r"^stages/generators/cooccurrence.py: not found; copy"):
        check_code(other, {"history"})
    other = settings.model_copy(update={"feature_groups": ["decade"]})
    with pytest.raises(StageError, match=r"^stages/ranking: has no feature group 'decade'; copy"):
        check_code(other, {"history"})
