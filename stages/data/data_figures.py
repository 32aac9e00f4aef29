"""Figures of a data set, and what a reader of them has to know."""

import polars as pl

EARLIEST_LAST_TIME = 631_152_000  # the year 1990; times that end before are hardly seconds
MAX_HISTOGRAM = 50  # distinct ratings; more are counts rather than a scale
FEW_GENRES, MANY_GENRES = 10, 50  # between them, the number of movies decides
DROPPED = {
    "incomplete": "rows without a readable id, rating or time are dropped",
    "no_rating": "rows with a value of clean.no_rating are dropped",
    "repeated": "rows that equal an earlier row are dropped",
    "movies_incomplete": "rows of movies without an id of the kind of the rated ones are dropped",
    "movies_repeated": "rows of movies with the id of an earlier row are dropped",
}


def statistics(
    ratings: pl.DataFrame, catalogue: pl.DataFrame, dropped: dict[str, int]
) -> dict[str, float]:
    """Return flat figures of the data set; `density` is ratings / (users x rated movies)."""
    users, movies = ratings["user_id"].n_unique(), ratings["movie_id"].n_unique()
    histogram = ratings.group_by("rating").len().sort("rating").rows()
    if len(histogram) > MAX_HISTOGRAM:
        histogram = []
    return {
        "users": users,
        "movies": catalogue.height,
        "movies_rated": movies,
        "movies_without_genres": catalogue.filter(pl.col("genres").list.len() == 0).height,
        "genres": catalogue["genres"].explode().drop_nulls().n_unique(),
        "ratings": ratings.height,
        "rating_min": ratings["rating"].min(),
        "rating_max": ratings["rating"].max(),
        "rating_mean": round(ratings["rating"].cast(pl.Float64).mean(), 4),
        "density": round(ratings.height / (users * movies), 6),
        **{f"dropped_{reason}": count for reason, count in dropped.items()},
        **{f"ratings_of_{stars:g}": count for stars, count in histogram},
    }


def notices(
    figures: dict[str, float], *, mapped: list[str], is_implicit: bool, has_movies: bool, last: int
) -> list[str]:
    """Return what a reader of the figures has to know, one sentence each.

    Args:
        figures: From `statistics`.
        mapped: Names of the id tables whose ids are new.
        is_implicit: The ratings file has no ratings.
        has_movies: There is a movies file.
        last: The latest time, in seconds since 1970.
    """
    counts = {text: figures[f"dropped_{reason}"] for reason, text in DROPPED.items()}
    sentences = [f"{count:,} {text}" for text, count in counts.items() if count]
    sentences += [f"{name} get new ids, see data/ids/{name}.parquet" for name in mapped]
    sentences += ["no ratings, so every row is a positive"] if is_implicit else []
    sentences += [] if has_movies else ["no movies file, so there are no titles and genres"]
    movies = figures["movies"] - figures["movies_without_genres"]
    genres = figures["genres"]
    if genres > MANY_GENRES or (genres > FEW_GENRES and 2 * genres > movies):
        sentences.append(f"{genres:,} genres of {movies:,} movies are many; check their separator")
    if last < EARLIEST_LAST_TIME:
        sentences.append("all times are before 1990; check that they are seconds since 1970")
    return sentences
