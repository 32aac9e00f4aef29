"""Small inputs of `stages.train_retrieval.train`."""

import polars as pl
import pytest

from stages.data.snapshots import SNAPSHOTS, ranker_targets
from stages.genre_features import genre_columns
from stages.histories import last_histories, number_snapshots
from stages.time_split import leave_one_out, order
from tests.conftest import tiny_tables

LENGTH = 8


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    """The tables of `stages.train_retrieval.train`; one movie of the catalogue has no positive."""
    ratings, movies = tiny_tables()
    positives = ratings.filter(pl.col("rating") >= 4).rename(
        {"userId": "user_id", "movieId": "movie_id"}
    )
    train, val, _ = leave_one_out(order(positives.with_row_index("row"), "file", 0), 3, 1)
    catalogue = movies.select(
        pl.col("movieId").cast(pl.Int32).alias("movie_id"),
        genres=pl.col("genres").str.split("|").list.filter(pl.element() != "(no genres listed)"),
    )
    cold = pl.DataFrame({"movie_id": [99], "genres": [["Drama"]]}).cast({"movie_id": pl.Int32})
    return {
        "positives": number_snapshots(train, val),
        "histories": last_histories(train.filter(~pl.col("inner_val")), LENGTH),
        "targets": ranker_targets(train, val)[SNAPSHOTS[0]],
        "genres": genre_columns(pl.concat([catalogue, cold])),
    }
