"""Small inputs of `stages.train_retrieval.train`."""

import polars as pl
import pytest

from stages.common.tables import QUERIES, RATINGS, TARGETS
from stages.data.queries import number_queries
from stages.genre_features import genre_columns
from stages.histories import build_histories, number_snapshots
from stages.seen import low_ratings, seen_movies
from stages.time_split import leave_one_out, order
from tests.conftest import tiny_tables

LENGTH = 8


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    """The tables of `stages.train_retrieval.train`; one movie of the catalogue has no positive."""
    ratings, movies = tiny_tables()
    ratings = ratings.rename({"userId": "user_id", "movieId": "movie_id"}).with_row_index("row")
    ratings = ratings.select(RATINGS.names()).cast(dict(RATINGS))
    parts = leave_one_out(order(ratings.filter(pl.col("rating") >= 4), "file", 0), 3, 1)
    positives = number_snapshots(parts.train, parts.val, parts.later)
    targets = number_queries(parts.inner_val_targets, first_new_id=1000).select(TARGETS.names())
    targets = targets.cast(dict(TARGETS))
    histories = build_histories(targets.select(QUERIES.names()), positives, LENGTH)
    catalogue = movies.select(
        pl.col("movieId").cast(pl.Int32).alias("movie_id"),
        genres=pl.col("genres").str.split("|").list.filter(pl.element() != "(no genres listed)"),
    )
    cold = pl.DataFrame({"movie_id": [99], "genres": [["Drama"]]}).cast({"movie_id": pl.Int32})
    return {
        "positives": positives,
        "low_ratings": low_ratings(ratings, positives),
        "histories": histories,
        "seen": seen_movies(histories, positives, ratings),
        "targets": targets,
        "genres": genre_columns(pl.concat([catalogue, cold])),
    }
