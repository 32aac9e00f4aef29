"""Small tables in the pipeline's schemas, from a few rows."""

from collections.abc import Sequence

import polars as pl

from stages.common.tables import (
    CATALOGUE,
    HISTORIES,
    LOW_RATINGS,
    POPULARITY,
    POSITIVES,
    RANKS,
    RECOMMENDATIONS,
    SEEN,
    TEST,
)

HOSTILE = '<script>window.hacked = 1</script><img src="http://127.0.0.1:9/x.png"> "Tom & Jerry"'


def scored_lists(rows: list[tuple[int, int, float]]) -> pl.DataFrame:
    """RECOMMENDATIONS of user, movie and score, best first for each user."""
    table = pl.DataFrame(rows, schema=["user_id", "movie_id", "score"], orient="row")
    table = table.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))
    return table.cast(dict(RECOMMENDATIONS))


def ranked_lists(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """RECOMMENDATIONS of user, movie and rank."""
    table = pl.DataFrame(rows, schema=["user_id", "movie_id", "rank"], orient="row")
    table = table.with_columns(score=1 / pl.col("rank")).cast(RECOMMENDATIONS)
    return table.select(RECOMMENDATIONS.names())


def held_out_targets(rows: list[tuple[int, int]]) -> pl.DataFrame:
    """TEST of user and movie."""
    table = pl.DataFrame(rows, schema=["user_id", "movie_id"], orient="row")
    extra = {"timestamp": 0, "tied": False, "new_user": False, "history_length": 5}
    table = table.with_columns(source_user_id="user_id", **{k: pl.lit(v) for k, v in extra.items()})
    return table.select(TEST.names()).cast(dict(TEST))


def target_rank_table(ranks: list[int]) -> pl.DataFrame:
    """RANKS of the users 1, 2, ... with one target each."""
    targets = held_out_targets([(user, 1) for user in range(1, len(ranks) + 1)])
    table = targets.with_columns(rank=pl.Series(ranks), positives=pl.lit(3))
    return table.select(RANKS.names()).cast(dict(RANKS))


def movie_popularity(positives: dict[int, int]) -> pl.DataFrame:
    """POPULARITY of the number of positives by movie, most popular first."""
    columns = {"movie_id": list(positives), "positives": list(positives.values())}
    return pl.DataFrame({**columns, "popularity_rank": range(1, len(positives) + 1)}).cast(
        dict(POPULARITY)
    )


def catalogue(titles: list[str]) -> pl.DataFrame:
    """CATALOGUE of the movies 1, 2, ... with a hostile genre."""
    columns = {"movie_id": range(1, len(titles) + 1), "title": titles, "year": 1999}
    return pl.DataFrame({**columns, "genres": [["Drama", HOSTILE]] * len(titles)}).cast(CATALOGUE)


def user_histories(movies: dict[int, list[int]]) -> pl.DataFrame:
    """HISTORIES of the movies by user, oldest first."""
    lengths = [len(history) for history in movies.values()]
    columns = {"user_id": list(movies), "source_user_id": list(movies), "history_length": lengths}
    times = [list(range(n)) for n in lengths]
    lists = {"history": list(movies.values()), "timestamps": times}
    return pl.DataFrame({**columns, **lists}, schema=HISTORIES)


def seen_pairs(
    positives: list[tuple[int, int]], others: Sequence[tuple[int, int]] = ()
) -> pl.DataFrame:
    """SEEN of user and movie: positives, the newest last, and low ratings, which are older."""
    rows = [(*pair, False, 0, 0) for pair in others] + [(*pair, True, 0, 0) for pair in positives]
    table = pl.DataFrame(rows, schema=SEEN, orient="row")
    age = pl.int_range(pl.len()).reverse().over("user_id").cast(pl.UInt32)
    return table.with_columns(age=age).sort("user_id", "movie_id")


def seen_of(histories: pl.DataFrame) -> pl.DataFrame:
    """SEEN of HISTORIES: their positives."""
    table = histories.select("user_id", movie_id="history", timestamp="timestamps")
    table = table.explode("movie_id", "timestamp")
    age = pl.int_range(pl.len()).reverse().over("user_id")
    table = table.with_columns(positive=True, age=age).select(SEEN.names())
    return table.cast(dict(SEEN)).sort("user_id", "movie_id")


def low_rated_pairs(pairs: Sequence[tuple[int, int]] = ()) -> pl.DataFrame:
    """LOW_RATINGS of user and movie, which every snapshot knows."""
    return pl.DataFrame([(*pair, 0, 0) for pair in pairs], schema=LOW_RATINGS, orient="row")


def user_movie_pairs(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    """Positives with user_id and movie_id only, in the order of `pairs`."""
    types = {"user_id": pl.Int32, "movie_id": pl.Int32}
    return pl.DataFrame(pairs, schema=types, orient="row")


def timed_positives(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """POSITIVES of user, movie and time, in the order of the raw file."""
    table = pl.DataFrame(rows, schema=["user_id", "movie_id", "timestamp"], orient="row")
    return table.with_row_index("row").select(pl.col(n).cast(k) for n, k in POSITIVES.items())
