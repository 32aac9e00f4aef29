"""Queries: points of a user's positives at which recommendations are asked for.

The tables of a snapshot name a query by `user_id`. Its user in the ratings is `source_user_id`.
"""

import polars as pl


def number_queries(targets: pl.DataFrame, first_new_id: int) -> pl.DataFrame:
    """Replace user_id by the ids of the queries; the user becomes source_user_id.

    A user's first query has the id of the user, the others have new ids. For example, with 10 as
    the `first_new_id`:

        user_id         4   4   4   7
        history_length  2   5   6   3
        query           4  10  11   7

    Args:
        targets: user_id and history_length, sorted by both; rows with equal ones are one query.
        first_new_id: Larger than all user ids.
    """
    is_new = pl.struct("user_id", "history_length").rle_id().diff().fill_null(1) > 0
    is_first = pl.col("user_id").rle_id().diff().fill_null(1) > 0
    new_id = first_new_id + (is_new & ~is_first).cum_sum() - 1
    is_first_query = pl.col("history_length") == pl.col("history_length").min().over("user_id")
    query = pl.when(is_first_query).then(pl.col("user_id").cast(pl.Int64)).otherwise(new_id)
    return targets.with_columns(source_user_id="user_id", user_id=query)


def rename_for_users(queries: pl.DataFrame) -> pl.DataFrame:
    """Return a table of queries whose `user_id` is the user, to be joined or split by user."""
    return queries.rename({"user_id": "query_id", "source_user_id": "user_id"})


def rename_for_queries(queries: pl.DataFrame) -> pl.DataFrame:
    """Undo `rename_for_users`."""
    return queries.rename({"user_id": "source_user_id", "query_id": "user_id"})
