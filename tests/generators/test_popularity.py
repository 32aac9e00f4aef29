import numpy as np

from stages.generators.popularity import Params, fit, recommend
from tests.small_tables import low_rated_pairs, seen_pairs, user_movie_pairs

PAIRS = [(1, 1), (2, 1), (1, 2), (2, 3)]
POSITIVES = user_movie_pairs(PAIRS)


def test_movies_are_ordered_by_positives_then_by_id() -> None:
    arrays = fit(POSITIVES, low_rated_pairs(), Params())
    assert arrays["movie_ids"].tolist() == [1, 2, 3]
    assert arrays["counts"].tolist() == [2, 1, 1]


def test_the_most_popular_unseen_movies_are_recommended() -> None:
    lists = recommend(
        fit(POSITIVES, low_rated_pairs(), Params()), np.array([1, 2, 3]), seen_pairs(PAIRS), count=2
    )
    assert lists.rows() == [(1, 3, 1, 1), (2, 2, 1, 1), (3, 1, 2, 1), (3, 2, 1, 2)]


def test_a_rated_movie_is_not_recommended_whatever_the_stars() -> None:
    seen = seen_pairs(PAIRS, others=[(3, 1), (4, 2)])
    lists = recommend(fit(POSITIVES, low_rated_pairs(), Params()), np.array([3, 4]), seen, count=2)
    assert lists.rows() == [(3, 2, 1, 1), (3, 3, 1, 2), (4, 1, 2, 1), (4, 3, 1, 2)]
