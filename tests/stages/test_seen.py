import polars as pl
import pytest

from stages.common.tables import HISTORIES, KNOWN_POSITIVES, RATINGS
from stages.seen import seen_movies

# By user: movie, rating and time. User 1 rates movie 9 low, and again as a positive target.
RATED = {
    1: [(5, 3.0, 10), (6, 2.0, 20), (7, 1.0, 30), (5, 2.5, 12), (1, 5.0, 20), (2, 5.0, 31)],
    2: [(8, 1.0, 5), (1, 4.0, 6)],
}
RATED[1] += [(9, 1.0, 25), (9, 5.0, 40), (1, 4.0, 3)]
POSITIVES = [(1, 1, 20, 0), (1, 2, 31, 1), (2, 1, 6, 0)]


@pytest.fixture
def ratings() -> pl.DataFrame:
    rows = [(user, *r, n) for user, rows in RATED.items() for n, r in enumerate(rows)]
    return pl.DataFrame(rows, schema=RATINGS, orient="row")


@pytest.fixture
def positives() -> pl.DataFrame:
    return pl.DataFrame(POSITIVES, schema=KNOWN_POSITIVES, orient="row")


def query(user: int, source: int, movies: list[int], times: list[int]) -> pl.DataFrame:
    """HISTORIES of one query whose history is not cut."""
    row = (user, source, len(movies), movies, times)
    return pl.DataFrame([row], schema=HISTORIES, orient="row")


def test_all_that_is_rated_before_the_newest_positive_is_seen(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    table = seen_movies(query(1, 1, [1, 2], [20, 31]), positives, ratings, "rated")
    assert table.rows() == [
        (1, 1, True),
        (1, 2, True),
        (1, 5, False),
        (1, 6, False),
        (1, 7, False),
        (1, 9, False),
    ]


def test_a_rating_of_the_second_of_the_newest_positive_may_be_later(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    table = seen_movies(query(1, 1, [1], [20]), positives, ratings, "rated")
    assert table.rows() == [(1, 1, True), (1, 5, False)]  # movie 6 is rated at second 20


def test_the_older_rule_excludes_positives_only(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    table = seen_movies(query(1, 1, [1, 2], [20, 31]), positives, ratings, "positives")
    assert table.rows() == [(1, 1, True), (1, 2, True)]


def test_queries_of_one_user_have_seen_what_is_before_each(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    queries = pl.concat(
        [query(1, 1, [1], [20]), query(2, 2, [1], [6]), query(70, 1, [1, 2], [20, 31])]
    )
    table = seen_movies(queries, positives, ratings, "rated")
    by_query = dict(table.group_by("user_id").agg(pl.col("movie_id").sort()).rows())
    assert by_query == {1: [1, 5], 2: [1, 8], 70: [1, 2, 5, 6, 7, 9]}


def test_positives_beyond_the_length_of_a_history_are_seen(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    cut = query(1, 1, [2], [31]).with_columns(history_length=pl.lit(2, dtype=pl.UInt32))
    table = seen_movies(cut, positives, ratings, "positives")
    assert table.rows() == [(1, 1, True), (1, 2, True)]
