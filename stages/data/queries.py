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
    is_first = pl.col("history_length") == pl.col("history_length").min().over("user_id")
    new_id = first_new_id + (is_new & ~is_first).cum_sum() - 1
    query = pl.when(is_first).then(pl.col("user_id").cast(pl.Int64)).otherwise(new_id)
    return targets.with_columns(source_user_id="user_id", user_id=query)


def ratings_by_query(ratings: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    """Return the ratings of every query's user, and whether they are known before the query.

    A rating is known if it is older than the newest positive of the history. Ratings of the same
    second are not: the user may have given them after the target.

    Args:
        ratings: RATINGS, or some of them.
        queries: HISTORIES.

    Returns:
        user_id (of the query), movie_id, timestamp, known.
    """
    newest = queries.select(
        "source_user_id", query_id="user_id", until=pl.col("timestamps").list.last()
    )
    rows = ratings.join(newest, left_on="user_id", right_on="source_user_id")
    is_known = pl.col("timestamp") < pl.col("until")
    return rows.select("movie_id", "timestamp", user_id="query_id", known=is_known)


def rename_for_users(queries: pl.DataFrame) -> pl.DataFrame:
    """Return a table of queries whose `user_id` is the user, to be joined or split by user."""
    return queries.rename({"user_id": "query_id", "source_user_id": "user_id"})


def rename_for_queries(queries: pl.DataFrame) -> pl.DataFrame:
    """Undo `rename_for_users`."""
    return queries.rename({"user_id": "source_user_id", "query_id": "user_id"})
