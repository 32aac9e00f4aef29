"""Stage: raw files -> checked, typed ratings and catalogue, and what was dropped and why."""

import dataclasses
from pathlib import Path
from typing import Annotated

import polars as pl

from stages.common.files import write_json
from stages.common.params import Range, load_params
from stages.common.stage import StageError, run_stage
from stages.common.tables import CATALOGUE, RATINGS, write_table
from stages.raw_formats import find_format

LARGEST_ID = 2**31 - 1
LATEST_TIME = 4_102_444_800  # the year 2100; larger values are most likely milliseconds


@dataclasses.dataclass(frozen=True)
class Params:
    """The scale that ratings must keep to, ends included."""

    rating_min: Annotated[float, Range(-1000, 1000)]
    rating_max: Annotated[float, Range(-1000, 1000)]


def clean_ratings(
    raw: pl.DataFrame, params: Params, where: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Type and check ratings; drop incomplete rows and exact repeats.

    Args:
        raw: user_id, movie_id, rating, timestamp (seconds or text), in the raw file's order.
        params: The rating scale.
        where: The file's name, for messages.

    Returns:
        RATINGS in the raw order, and the number of rows dropped by reason.
    """
    if raw.height == 0:
        raise StageError(f"{where}: holds no ratings; put the data in")
    if raw.schema["timestamp"] == pl.String:
        parsed = pl.col("timestamp").str.to_datetime(strict=False).dt.epoch("s")
        raw = raw.with_columns(timestamp=parsed)
    table = raw.with_row_index("row").with_columns(pl.col("timestamp").cast(pl.Int64, strict=False))
    complete = table.drop_nulls().filter(pl.col("rating").is_not_nan())
    if complete.height == 0:
        raise StageError(f"{where}: no row has an id, a rating and a time; check its columns")
    scale = f"{params.rating_min:g} to {params.rating_max:g}"
    rating, time = pl.col("rating"), pl.col("timestamp")
    cure = "correct it or set clean.rating_min and clean.rating_max"
    ids = [pl.col(name).is_between(0, LARGEST_ID) for name in ("user_id", "movie_id")]
    checks = {
        f"a rating outside {scale}; {cure}": ~rating.is_between(
            params.rating_min, params.rating_max
        ),
        f"an id outside 0 to {LARGEST_ID}; number users and movies anew": ~pl.all_horizontal(ids),
        "a time before 1970 or after 2100; give seconds since 1970": ~time.is_between(
            0, LATEST_TIME
        ),
    }
    for problem, wrong in checks.items():
        bad = complete.filter(wrong)
        if bad.height:
            raise StageError(f"{where}: data row {bad['row'][0] + 1} has {problem}")
    same = ["user_id", "movie_id", "rating", "timestamp"]
    kept = complete.unique(same, keep="first", maintain_order=True)
    dropped = {
        "incomplete": raw.height - complete.height,
        "repeated": complete.height - kept.height,
    }
    return kept.select(RATINGS.names()).cast(dict(RATINGS)), dropped


def clean_catalogue(raw: pl.DataFrame, rated: pl.Series, where: str) -> pl.DataFrame:
    """One row per movie, sorted; a rated movie without a row gets its id as its title."""
    known = raw.drop_nulls("movie_id").filter(pl.col("movie_id").is_between(0, LARGEST_ID))
    if known.height == 0:
        raise StageError(f"{where}: holds no movies; put the data in")
    known = known.unique("movie_id", keep="first", maintain_order=True)
    table = known.cast(dict(CATALOGUE))
    missing = pl.DataFrame({"movie_id": rated.unique()}).join(table, on="movie_id", how="anti")
    return (
        pl.concat([table, missing], how="diagonal")
        .with_columns(
            pl.col("title").fill_null(pl.format("movie {}", "movie_id")),
            pl.col("genres").fill_null([]),
        )
        .sort("movie_id")
    )


def statistics(
    ratings: pl.DataFrame, catalogue: pl.DataFrame, dropped: dict[str, int]
) -> dict[str, float]:
    """Flat figures of the data set; `density` is ratings / (users x rated movies)."""
    users, movies = ratings["user_id"].n_unique(), ratings["movie_id"].n_unique()
    histogram = ratings.group_by("rating").len().sort("rating").rows()
    return {
        "users": users,
        "movies": catalogue.height,
        "movies_rated": movies,
        "movies_without_genres": catalogue.filter(pl.col("genres").list.len() == 0).height,
        "ratings": ratings.height,
        "rating_min": ratings["rating"].min(),
        "rating_max": ratings["rating"].max(),
        "rating_mean": round(ratings["rating"].cast(pl.Float64).mean(), 4),
        "density": round(ratings.height / (users * movies), 6),
        **{f"dropped_{reason}": count for reason, count in dropped.items()},
        **{f"ratings_of_{stars:g}": count for stars, count in histogram},
    }


def main(raw: Path, ratings: Path, catalogue: Path, metrics: Path) -> str:
    """Read whatever format lies in `raw`."""
    params = load_params(Params, "clean")
    known, ratings_name, movies_name = find_format([p.name for p in raw.iterdir()], str(raw))
    source = str(raw / ratings_name)
    table, dropped = clean_ratings(known.read_ratings(raw / ratings_name), params, source)
    movies = known.read_movies(raw / movies_name)
    movies = clean_catalogue(movies, table["movie_id"], str(raw / movies_name))
    write_table(table, ratings, RATINGS)
    write_table(movies, catalogue, CATALOGUE)
    write_json(statistics(table, movies, dropped), metrics)
    return f"{table.height:,} ratings of {movies.height:,} movies, dropped {dropped}"


if __name__ == "__main__":
    run_stage(main)
