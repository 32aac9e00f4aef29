import numpy as np
import polars as pl
import pytest

from stages.common.tables import KNOWN_POSITIVES, LOW_RATINGS
from stages.generators.slit import Params, Ratings, fit, in_order, regression_sums

SOURCE, TARGET = np.array([1.0, 0.5, 0.25]), np.array([1.0, 0.5])
# Two users; the second one has a single rating, and so no example.
USERS = np.array([1, 1, 1, 1, 1, 2])
MOVIES = np.array([0, 2, 1, 3, 4, 1])
WEIGHTS = np.array([1.0, 0.5, 1.0, 1.0, 0.5, 1.0])
PARAMS = {
    "regularization": 2.0,
    "low_weight": 0.5,
    "recency": 1.0,
    "window": 3,
    "targets": 2,
    "max_movies": 9,
}


def examples(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The sources and targets of `USERS`, one by one."""
    sources, targets = np.zeros((4, size)), np.zeros((4, size))
    for end in range(4):
        for back, value in enumerate(SOURCE[: end + 1]):
            sources[end, MOVIES[end - back]] += value * WEIGHTS[end - back]
        for ahead, value in enumerate(TARGET[: 4 - end]):
            targets[end, MOVIES[end + 1 + ahead]] += value * WEIGHTS[end + 1 + ahead]
    return sources, targets


def test_the_sums_are_those_of_all_examples() -> None:
    sources, targets = examples(6)
    gram, products = regression_sums(Ratings(USERS, MOVIES, WEIGHTS), 6, SOURCE, TARGET)
    assert gram == pytest.approx(sources.T @ sources)
    assert products == pytest.approx(sources.T @ targets)


def known(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """KNOWN_POSITIVES of user, movie and time."""
    return pl.DataFrame([(*r, 0) for r in rows], schema=KNOWN_POSITIVES, orient="row")


def low(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """LOW_RATINGS of user, movie and time."""
    return pl.DataFrame([(*r, 0) for r in rows], schema=LOW_RATINGS, orient="row")


def test_ratings_are_in_order_and_low_ones_come_first_in_a_second() -> None:
    positives = known([(1, 7, 10), (1, 5, 20), (1, 9, 20), (2, 5, 3)])
    table = in_order(
        positives, low([(1, 8, 20), (1, 4, 5), (2, 5, 4)]), 0.5, np.array([5, 7, 8, 9])
    )
    assert table.users.tolist() == [1, 1, 1, 1, 2, 2]
    assert table.movies.tolist() == [1, 2, 0, 3, 0, 0]  # 7, 8, 5, 9, 5, 5
    assert table.weights.tolist() == [1, 0.5, 1, 1, 1, 0.5]
    assert in_order(positives, low([(1, 8, 20)]), 0.0, np.array([5])).weights.tolist() == [1, 1]


def test_the_weights_solve_the_ridge_regression() -> None:
    positives = known([(1, 10, 1), (1, 30, 3), (1, 20, 4), (2, 20, 1), (3, 40, 2), (3, 50, 2)])
    arrays = fit(positives, low([(1, 40, 2)]), Params(**PARAMS))
    assert arrays["movie_ids"].tolist() == [10, 20, 30, 40, 50]
    ratings = in_order(positives, low([(1, 40, 2)]), 0.5, arrays["movie_ids"])
    gram, products = regression_sums(ratings, 5, np.array([1, 1 / 2, 1 / 3]), np.array([1, 0.5]))
    residual = (gram + 2.0 * np.eye(5)) @ arrays["weights"] - products
    assert residual == pytest.approx(np.zeros((5, 5)), abs=1e-6)
    assert (arrays["low_weight"], arrays["recency"]) == (0.5, 1.0)


def test_what_follows_a_movie_has_more_weight_than_what_precedes_it() -> None:
    rows = [(user, movie, movie) for user in range(1, 30) for movie in (1, 2, 3)]
    weights = fit(known(rows), low([]), Params(**PARAMS))["weights"]
    assert weights[0, 1] > weights[1, 0]
    assert weights[1, 2] > weights[2, 1]


def test_the_model_is_limited_to_the_most_popular_movies() -> None:
    positives = known([(1, 3, 1), (2, 3, 1), (1, 2, 2), (2, 1, 2), (3, 1, 1)])
    arrays = fit(positives, low([]), Params(**{**PARAMS, "max_movies": 2}))
    assert arrays["movie_ids"].tolist() == [1, 3]
    assert arrays["weights"].shape == (2, 2)
    assert arrays["weights"].dtype == np.float32
