import numpy as np
import polars as pl
import pytest

from stages.generators.popularity_recent import DAY, Params, fit, recommend
from tests.small_tables import low_rated_pairs, seen_pairs

NEWEST = 1_000_000_000


def positives_by_age(ages: dict[int, list[float]]) -> pl.DataFrame:
    """Positives of each movie, of different users, by their days before the newest one of all."""
    rows = [(movie, round(NEWEST - age * DAY)) for movie, days in ages.items() for age in days]
    types = {"movie_id": pl.Int32, "timestamp": pl.Int64}
    return pl.DataFrame(rows, schema=types, orient="row").with_row_index("user_id")


def test_movies_are_ordered_by_recent_positives_then_by_all_then_by_id() -> None:
    ages = {
        1: [0, 50],
        2: [3, 40, 60],  # as many recent positives as movie 1, and more of all
        3: [30, 31, 32, 33, 34],  # the most positives of all, none recent
        4: [90],
        5: [1, 2],
        6: [91],
        7: [92, 93],
    }
    arrays = fit(positives_by_age(ages), low_rated_pairs(), Params(days=10))
    assert arrays["movie_ids"].tolist() == [5, 2, 1, 3, 7, 4, 6]
    # Recent positives, and sixths of all: the most of a movie are five.
    sixths = np.array([12 + 2, 6 + 3, 6 + 2, 5, 2, 1, 1])
    assert arrays["counts"] * 6 == pytest.approx(sixths)


def test_the_window_begins_after_its_first_second() -> None:
    ages = {1: [0], 2: [10, 10], 3: [10 - 1 / DAY]}
    arrays = fit(positives_by_age(ages), low_rated_pairs(), Params(days=10))
    assert arrays["movie_ids"].tolist() == [1, 3, 2]
    arrays = fit(positives_by_age(ages), low_rated_pairs(), Params(days=10.1))
    assert arrays["movie_ids"].tolist() == [2, 1, 3]


def test_after_a_gap_the_window_of_the_newest_positive_is_all_that_is_recent() -> None:
    # Nothing is in the 400 days before the newest positive.
    ages = {1: [400, 401], 2: [0], 3: [402, 403, 404]}
    arrays = fit(positives_by_age(ages), low_rated_pairs(), Params(days=30))
    assert arrays["movie_ids"].tolist() == [2, 3, 1]
    assert (arrays["counts"] >= 1).tolist() == [True, False, False]


def test_all_positives_in_the_window_are_plain_popularity() -> None:
    ages = {1: [5], 2: [0, 1], 3: [7], 4: [2, 3, 4]}
    arrays = fit(positives_by_age(ages), low_rated_pairs(), Params(days=100))
    assert arrays["movie_ids"].tolist() == [4, 2, 1, 3]


def test_the_first_unseen_movies_are_recommended() -> None:
    arrays = fit(
        positives_by_age({1: [0, 1], 2: [40, 50, 60], 3: [2]}), low_rated_pairs(), Params(days=10)
    )
    assert arrays["movie_ids"].tolist() == [1, 3, 2]
    seen = seen_pairs([(1, 1)], others=[(2, 3)])
    lists = recommend(arrays, np.array([1, 2, 3]), seen, count=2)
    pairs = lists.select("user_id", "movie_id", "rank").rows()
    assert pairs == [(1, 3, 1), (1, 2, 2), (2, 1, 1), (2, 2, 2), (3, 1, 1), (3, 3, 2)]
    scores = dict(zip(arrays["movie_ids"].tolist(), arrays["counts"].tolist()))
    assert lists["score"].to_list() == pytest.approx([scores[m] for m in lists["movie_id"]])
