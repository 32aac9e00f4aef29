import numpy as np

from stages.generators.popularity import Params, fit, recommend
from tests.small_tables import user_movie_pairs

POSITIVES = user_movie_pairs([(1, 1), (2, 1), (1, 2), (2, 3)])


def test_movies_are_ordered_by_positives_then_by_id() -> None:
    arrays = fit(POSITIVES, Params())
    assert arrays["movie_ids"].tolist() == [1, 2, 3]
    assert arrays["counts"].tolist() == [2, 1, 1]


def test_the_most_popular_unseen_movies_are_recommended() -> None:
    lists = recommend(fit(POSITIVES, Params()), np.array([1, 2, 3]), POSITIVES, count=2)
    assert lists.rows() == [(1, 3, 1, 1), (2, 2, 1, 1), (3, 1, 2, 1), (3, 2, 1, 2)]
