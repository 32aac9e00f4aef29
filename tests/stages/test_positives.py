import polars as pl

from stages.common.tables import RATINGS
from stages.positives import keep_positives, sample_users
from tests.small_tables import timed_positives


def test_a_rating_equal_to_the_threshold_is_a_positive() -> None:
    rows = [(1, 1, 4.0, 5, 0), (1, 2, 3.5, 6, 1)]
    ratings = pl.DataFrame(rows, schema=RATINGS, orient="row")
    assert keep_positives(ratings, 4.0)["movie_id"].to_list() == [1]


def test_the_latest_rating_of_a_movie_counts() -> None:
    rows = [(1, 1, 5.0, 9, 0), (1, 1, 2.0, 10, 1), (1, 2, 1.0, 3, 2), (1, 2, 5.0, 3, 3)]
    ratings = pl.DataFrame(rows, schema=RATINGS, orient="row")
    # Movie 1 got a low rating later. Movie 2 got two ratings in one second: the last row counts.
    assert keep_positives(ratings, 4.0)["movie_id"].to_list() == [2]


def test_a_sample_keeps_whole_users_in_any_order_of_rows() -> None:
    table = timed_positives([(user, movie, movie) for user in range(2000) for movie in range(3)])
    sample = sample_users(table, 0.1, 42)
    assert 150 < sample["user_id"].n_unique() < 250
    assert sample.group_by("user_id").len()["len"].unique().to_list() == [3]
    backwards = sample_users(table.reverse(), 0.1, 42)
    assert backwards.reverse().equals(sample)
    assert set(sample["user_id"]) < set(sample_users(table, 0.3, 42)["user_id"])
    assert set(sample["user_id"]) != set(sample_users(table, 0.1, 43)["user_id"])
    assert sample_users(table, 1.0, 42).equals(table)
