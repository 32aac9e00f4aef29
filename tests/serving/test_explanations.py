import numpy as np
import polars as pl
import pytest

from stages.ranking.feature_groups import FeatureContext
from stages.serving.explanations import cosines, explain, item_weights
from stages.serving.pipeline import ServingPipeline
from tests.small_tables import user_histories, user_movie_pairs


@pytest.fixture(scope="module")
def served(recommender: ServingPipeline) -> pl.DataFrame:
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
    recommender: ServingPipeline, context: FeatureContext, recommendations: pl.DataFrame
) -> list[int | None]:
    history = dict(recommender.histories.select("user_id", "history").iter_rows())
    return [
        expected_explanation(context, history[user], movie)
        for user, movie in recommendations.select("user_id", "movie_id").iter_rows()
    ]


def test_the_movie_with_the_largest_weight_explains(
    recommender: ServingPipeline, served: pl.DataFrame
) -> None:
    expected = expected_explanations(recommender, recommender.context, served)
    assert served["explanation_id"].to_list() == expected
    titles = dict(recommender.catalogue.select("movie_id", "title").iter_rows())
    explained = served.drop_nulls("explanation_id").select("explanation_id", "explanation")
    assert explained.height
    assert all(titles[movie] == title for movie, title in explained.iter_rows())


def test_the_vectors_explain_a_movie_that_no_item_item_model_has(
    recommender: ServingPipeline, served: pl.DataFrame
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
    recommender: ServingPipeline, served: pl.DataFrame
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
    recommender: ServingPipeline, served: pl.DataFrame
) -> None:
    index, weights = recommender.context.item_item["ease"]
    models = {"cooccurrence": (index, np.ones_like(weights))}
    top = served.filter(pl.col("rank") <= 3)
    context = recommender.context._replace(item_item=models)
    explanations = explain(context, recommender.histories, top)
    newest = recommender.histories.select("user_id", newest=pl.col("history").list.last())
    expected = top.join(newest, on="user_id", maintain_order="left")["newest"]
    assert explanations.to_list() == expected.to_list()


def test_the_weights_and_cosines_of_each_movie_of_the_histories() -> None:
    model = np.array([1, -1, 0, 2]), np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    history, movies = np.array([[0, 1, 2], [3, 0, 3], [0, 2, 3]]), np.array([0, 3, 1])
    expected = [[5, 0, 2], [9, 6, 9], [0, 0, 0]]
    assert item_weights(model, history, movies).tolist() == expected
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, -0.6]])
    expected = [[1, 0, 0.6], [1, 0.8, 1], [0, 0.8, -0.6]]
    np.testing.assert_allclose(cosines(vectors, history, movies), expected, atol=1e-12)


def test_explanations_by_hand() -> None:
    # By model: the number of each of the movies 10, 20, 30 and 40 in it, and its weights.
    weights = {name: np.zeros((4, 4)) for name in ("other", "item_knn", "ease")}
    weights["ease"][[0, 1, 1, 2], [2, 2, 0, 0]] = 2, 2, 1, -1
    weights["item_knn"][[1, 2], [3, 0]] = 0.5, 9
    weights["other"][[0, 3], [3, 0]] = 9, 7
    indexes = {"ease": [0, 1, 2, -1], "item_knn": [-1, 1, 2, 3], "other": [0, 1, 2, 3]}
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
    context = FeatureContext(**dict.fromkeys(FeatureContext._fields))._replace(
        movie_ids=np.array([10, 20, 30, 40]),
        unit_vectors=vectors,
        item_item={name: (np.array(indexes[name]), array) for name, array in weights.items()},
    )
    histories = user_histories({3: [10, 20, 30], 5: [40], 8: []})
    expected = {
        (3, 30): 20,  # 10 and 20 have equal weights in EASE, and 20 is newer
        (3, 10): 20,  # item_knn has a larger weight, but EASE decides
        (3, 40): 20,  # EASE lacks the movie; item_knn decides before the other model
        (5, 10): 40,  # the other model
        (5, 20): 40,  # the vectors
        (5, 30): None,  # the cosine is 0
        (8, 10): None,  # no history
    }
    explanations = explain(context, histories, user_movie_pairs(list(expected)))
    assert explanations.dtype == pl.Int32
    assert explanations.to_list() == list(expected.values())
    assert explain(context, histories[2:], user_movie_pairs([(8, 10)])).to_list() == [None]
