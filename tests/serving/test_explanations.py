import numpy as np
import polars as pl
import pytest

from stages.ranking.feature_groups import FeatureContext
from stages.serving.explanations import explain
from stages.serving.recommender import Recommender


@pytest.fixture(scope="module")
def served(recommender: Recommender) -> pl.DataFrame:
    """All candidates of all users."""
    return pl.concat(recommender.for_users(recommender.users, 10_000))


def expected_explanation(context: FeatureContext, history: list[int], movie: int) -> int | None:
    """One movie after the other: EASE, else item_knn, else the cosine; the newest of equals."""
    position = {movie: index for index, movie in enumerate(context.movie_ids.tolist())}
    newest_first = history[::-1]
    for name in ("ease", "item_knn"):
        index, weights = context.item_item[name]
        column = index[position[movie]]
        matches = [m for m in newest_first if index[position[m]] >= 0 and column >= 0]
        values = [weights[index[position[m]], column] for m in matches]
        if values and max(values) > 0:
            return matches[int(np.argmax(values))]
    vectors = context.unit_vectors
    cosines = [vectors[position[m]] @ vectors[position[movie]] for m in newest_first]
    return newest_first[int(np.argmax(cosines))] if max(cosines) > 0 else None


def expected_explanations(
    recommender: Recommender, context: FeatureContext, recommendations: pl.DataFrame
) -> list[int | None]:
    history = dict(recommender.histories.select("user_id", "history").iter_rows())
    return [
        expected_explanation(context, history[user], movie)
        for user, movie in recommendations.select("user_id", "movie_id").iter_rows()
    ]


def test_the_movie_with_the_largest_weight_explains(
    recommender: Recommender, served: pl.DataFrame
) -> None:
    expected = expected_explanations(recommender, recommender.context, served)
    assert served["explanation_id"].to_list() == expected
    titles = dict(recommender.catalogue.select("movie_id", "title").iter_rows())
    explained = served.drop_nulls("explanation_id").select("explanation_id", "explanation")
    assert explained.height
    assert all(titles[movie] == title for movie, title in explained.iter_rows())


def test_the_vectors_explain_a_movie_that_no_item_item_model_has(
    recommender: Recommender, served: pl.DataFrame
) -> None:
    empty = {
        name: (np.full_like(index, -1), weights)
        for name, (index, weights) in recommender.context.item_item.items()
    }
    context = recommender.context._replace(item_item=empty)
    top = served.filter(pl.col("rank") <= 5)
    explanations = explain(context, recommender.histories, top).to_list()
    assert explanations == expected_explanations(recommender, context, top)
    assert explanations != top["explanation_id"].to_list()


def test_the_newest_movie_explains_if_weights_are_equal(
    recommender: Recommender, served: pl.DataFrame
) -> None:
    equal = {
        name: (index, np.ones_like(weights))
        for name, (index, weights) in recommender.context.item_item.items()
    }
    histories = recommender.histories[:4]
    top = served.filter(pl.col("rank") <= 3, pl.col("user_id").is_in(histories["user_id"]))
    explanations = explain(recommender.context._replace(item_item=equal), histories, top)
    newest = histories.select("user_id", newest=pl.col("history").list.last())
    expected = top.join(newest, on="user_id", maintain_order="left")["newest"]
    assert explanations.to_list() == expected.to_list()


def test_another_item_item_model_explains_before_the_vectors(
    recommender: Recommender, served: pl.DataFrame
) -> None:
    index, weights = recommender.context.item_item["ease"]
    models = {"cooccurrence": (index, np.ones_like(weights))}
    top = served.filter(pl.col("rank") <= 3)
    context = recommender.context._replace(item_item=models)
    explanations = explain(context, recommender.histories, top)
    newest = recommender.histories.select("user_id", newest=pl.col("history").list.last())
    expected = top.join(newest, on="user_id", maintain_order="left")["newest"]
    assert explanations.to_list() == expected.to_list()
