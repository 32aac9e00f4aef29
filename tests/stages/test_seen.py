from pathlib import Path

import polars as pl
import pytest

from stages.common.tables import HISTORIES, KNOWN_POSITIVES, RATINGS
from stages.common.tables import SEEN as SEEN_SCHEMA
from stages.data.snapshots import (
    SERVE_SNAPSHOT,
    SNAPSHOTS,
    known_low_ratings,
    read_low_ratings,
    read_seen,
)
from stages.seen import low_ratings, seen_movies
from tests.conftest import tiny_tables
from tests.tiny_chain import SEEN, run_chain

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
    table = seen_movies(query(1, 1, [1, 2], [20, 31]), positives, ratings)
    assert table.schema == SEEN_SCHEMA
    assert table.rows() == [
        (1, 1, True, 3, 20),
        (1, 2, True, 0, 31),
        (1, 5, False, 5, 10),
        (1, 6, False, 4, 20),  # of the second of movie 1, and so older
        (1, 7, False, 1, 30),
        (1, 9, False, 2, 25),
    ]


def test_positives_of_one_second_keep_their_order_as_ages(ratings: pl.DataFrame) -> None:
    rows = [(1, 4, 9, 0), (1, 3, 9, 0), (1, 8, 9, 0), (2, 1, 6, 0)]
    positives = pl.DataFrame(rows, schema=KNOWN_POSITIVES, orient="row")
    queries = pl.concat([query(1, 1, [4, 3, 8], [9, 9, 9]), query(2, 2, [1], [6])])
    table = seen_movies(queries, positives, ratings)
    ages = {(user, movie): age for user, movie, _, age, _ in table.iter_rows()}
    assert ages == {(1, 8): 0, (1, 3): 1, (1, 4): 2, (1, 1): 3, (2, 1): 0, (2, 8): 1}


def test_a_rating_of_the_second_of_the_newest_positive_may_be_later(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    table = seen_movies(query(1, 1, [1], [20]), positives, ratings)
    assert table.rows() == [
        (1, 1, True, 0, 20),
        (1, 5, False, 1, 10),
    ]  # movie 6 is rated at second 20


@pytest.mark.parametrize("exclude", ["rated", "positives"])
def test_the_param_decides_what_is_seen(
    exclude: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings, movies = tiny_tables()
    run_chain(tmp_path, (ratings, movies), candidates__exclude=exclude)
    monkeypatch.chdir(tmp_path)
    for snapshot in SNAPSHOTS:
        table = read_seen(SEEN, snapshot)
        assert table["positive"].any()
        assert table["positive"].all() == (exclude == "positives" and snapshot != SERVE_SNAPSHOT)
    low = read_low_ratings(SEEN)
    assert (low.height == 0) == (exclude == "positives")


def test_before_serving_all_that_a_user_has_rated_is_seen(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    table = seen_movies(query(2, 2, [1], [6]), positives, ratings, also_unknown=True)
    late = pl.DataFrame([(2, 4, 1.0, 90, 9)], schema=RATINGS, orient="row")
    later = seen_movies(query(2, 2, [1], [6]), positives, pl.concat([ratings, late]), True)
    assert table.rows() == [(2, 1, True, 0, 6), (2, 8, False, 1, 5)]
    assert later.rows() == [(2, 1, True, 1, 6), (2, 4, False, 0, 90), (2, 8, False, 2, 5)]


def test_queries_of_one_user_have_seen_what_is_before_each(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    queries = pl.concat(
        [query(1, 1, [1], [20]), query(2, 2, [1], [6]), query(70, 1, [1, 2], [20, 31])]
    )
    table = seen_movies(queries, positives, ratings)
    by_query = dict(table.group_by("user_id").agg(pl.col("movie_id").sort()).rows())
    assert by_query == {1: [1, 5], 2: [1, 8], 70: [1, 2, 5, 6, 7, 9]}


def test_positives_beyond_the_length_of_a_history_are_seen(
    ratings: pl.DataFrame, positives: pl.DataFrame
) -> None:
    cut = query(1, 1, [2], [31]).with_columns(history_length=pl.lit(2, dtype=pl.UInt32))
    table = seen_movies(cut, positives, ratings.clear())
    assert table.rows() == [(1, 1, True, 1, 20), (1, 2, True, 0, 31)]


# A snapshot knows user 1 up to the time 10, 20 and 30, and user 2 from the second one on.
TIMES = [(1, 1, 10, 0), (1, 2, 20, 1), (1, 3, 30, 2), (2, 1, 15, 1)]


def low_rating_table(rated: dict[int, list[tuple[int, int]]]) -> pl.DataFrame:
    """LOW_RATINGS of movie and time by user, under the positives of `TIMES`."""
    rows = [(user, movie, 1.0, time, 0) for user, pairs in rated.items() for movie, time in pairs]
    ratings = pl.DataFrame(rows, schema=RATINGS, orient="row")
    return low_ratings(ratings, pl.DataFrame(TIMES, schema=KNOWN_POSITIVES, orient="row"))


def test_a_snapshot_knows_the_low_ratings_before_its_newest_positive() -> None:
    rated = {1: [(5, 9), (6, 10), (7, 20), (8, 30), (4, 31)], 2: [(9, 14), (5, 15)], 3: [(9, 1)]}
    # A rating of the second of the newest positive may be later. User 3 has no positive. Only
    # `serve` knows what is rated after the newest positive.
    assert low_rating_table(rated).rows() == [
        (1, 4, 31, 3),
        (1, 5, 9, 0),
        (1, 6, 10, 1),
        (1, 7, 20, 2),
        (1, 8, 30, 3),
        (2, 5, 15, 3),
        (2, 9, 14, 1),
    ]


def test_a_positive_is_no_low_rating() -> None:
    rated = {1: [(1, 10), (2, 20), (3, 30), (9, 40)], 2: [(1, 15)]}
    assert low_rating_table(rated).rows() == [(1, 9, 40, 3)]


def test_a_movie_is_low_until_it_is_a_positive() -> None:
    low = low_rating_table({1: [(3, 5), (5, 6), (5, 25)]})
    assert low.rows() == [(1, 3, 5, 0), (1, 5, 6, 0)]
    positives = pl.DataFrame(TIMES, schema=KNOWN_POSITIVES, orient="row")
    known = {s: known_low_ratings(low, positives[:n], s) for s, n in zip(SNAPSHOTS, (1, 2, 3, 4))}
    assert [table["movie_id"].to_list() for table in known.values()] == [[3, 5], [3, 5], [5], [5]]
