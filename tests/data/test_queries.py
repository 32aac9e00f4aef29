import polars as pl

from stages.common.tables import HISTORIES, RATINGS
from stages.data.queries import (
    number_queries,
    ratings_by_query,
    rename_for_queries,
    rename_for_users,
)


def targets(rows: list[tuple[int, int]]) -> pl.DataFrame:
    schema = {"user_id": pl.Int32, "history_length": pl.UInt32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_the_first_query_has_the_id_of_its_user_and_others_have_new_ones() -> None:
    table = number_queries(targets([(4, 2), (4, 5), (4, 6), (7, 3)]), 10)
    assert table["user_id"].to_list() == [4, 10, 11, 7]
    assert table["source_user_id"].to_list() == [4, 4, 4, 7]


def test_targets_with_one_history_are_one_query() -> None:
    table = number_queries(targets([(4, 2), (4, 2), (4, 5), (4, 5), (7, 2), (7, 2)]), 10)
    assert table["user_id"].to_list() == [4, 4, 10, 10, 7, 7]


def test_queries_can_be_named_by_their_users_and_back() -> None:
    table = number_queries(targets([(4, 2), (4, 5)]), 10)
    by_user = rename_for_users(table)
    assert by_user["user_id"].to_list() == [4, 4]
    assert by_user["query_id"].to_list() == [4, 10]
    assert rename_for_queries(by_user).select(table.columns).equals(table)


def test_each_query_knows_the_ratings_before_its_newest_positive() -> None:
    rows = [(4, 1, 5.0, 10, 0), (4, 2, 1.0, 19, 1), (4, 3, 4.0, 20, 2), (5, 1, 5.0, 1, 3)]
    ratings = pl.DataFrame(rows, schema=RATINGS, orient="row")
    rows = [(4, 4, 1, [1], [10]), (70, 4, 2, [1, 3], [10, 20]), (6, 6, 1, [1], [9])]
    table = ratings_by_query(ratings, pl.DataFrame(rows, schema=HISTORIES, orient="row"))
    times = {1: 10, 2: 19, 3: 20}
    rows = table.select("user_id", "movie_id", "timestamp", "known").rows()
    assert sorted(rows) == [
        *((4, movie, time, False) for movie, time in times.items()),
        *((70, movie, time, movie < 3) for movie, time in times.items()),
    ]
