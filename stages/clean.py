"""Stage: raw files -> checked, typed ratings and catalogue, and what was dropped and why."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import polars as pl

from stages.common.files import write_json
from stages.common.params import Range, check, load_params, read_section
from stages.common.stage import StageError, run_stage
from stages.common.tables import CATALOGUE, RATINGS, write_table
from stages.ids import id_table, numbering, renumber
from stages.pairs import one_of_each
from stages.raw_formats import find_files
from stages.raw_readers import Columns, read_movies, read_ratings

KEYS = {"users": "user_id", "movies": "movie_id"}
LATEST_TIME = 4_102_444_800  # the year 2100; larger values are most likely milliseconds


@dataclasses.dataclass(frozen=True)
class Params:
    """The scale that ratings must keep to, ends included.

    Where a file has no ratings at all, every row counts as one of `rating_max`.
    """

    rating_min: Annotated[float, Range(-1000, 1000)]
    rating_max: Annotated[float, Range(-1000, 1000)]


def load_columns() -> Columns:
    """`data.columns` of params.yaml, in which a null stands for the usual name."""
    names = read_section("data.columns")
    for field, name in names.items() if isinstance(names, Mapping) else ():
        if name is not None:
            check(name, str, f"data.columns.{field}")
    return load_params(Columns, "data.columns")


def number_ids(
    ratings: pl.DataFrame, movies: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, pl.DataFrame | None]]:
    """Both raw tables with i64 ids, and by key the `numbering` of those that were no numbers.

    Rows without a readable rating do not decide: they may be no ratings at all, such as a header
    in the middle of a file.
    """
    readable = ratings.filter(pl.col("rating").is_not_null())
    distinct = readable.select(pl.col("user_id", "movie_id").unique().implode())  # in threads
    numbers = {
        "user_id": numbering(distinct["user_id"][0], movies["movie_id"].clear()),
        "movie_id": numbering(distinct["movie_id"][0], movies["movie_id"]),
    }
    movies = renumber(movies, {"movie_id": numbers["movie_id"]})
    return renumber(ratings, numbers), movies, numbers


def clean_ratings(
    raw: pl.DataFrame, params: Params, where: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Type and check ratings; drop incomplete rows and exact repeats.

    Args:
        raw: user_id, movie_id (numbers), rating, timestamp (seconds or text), in the raw order.
        params: The rating scale.
        where: The file's name, for messages.

    Returns:
        RATINGS in the raw order, and the number of rows dropped by reason.
    """
    if raw.height == 0:
        raise StageError(f"{where}: holds no ratings; put the data in")
    if raw.schema["timestamp"] == pl.String:
        text = pl.col("timestamp").str.replace("T", " ", literal=True).str.strip_suffix("Z")
        raw = raw.with_columns(timestamp=text.str.to_datetime(strict=False).dt.epoch("s"))
    table = raw.with_row_index("row").with_columns(pl.col("timestamp").cast(pl.Int64, strict=False))
    complete = table.drop_nulls().filter(pl.col("rating").is_not_nan())
    if complete.height == 0:
        raise StageError(f"{where}: no row has an id, a rating and a time; check its columns")
    scale = f"{params.rating_min:g} to {params.rating_max:g}"
    rating, time = pl.col("rating"), pl.col("timestamp")
    cure = "correct it or set clean.rating_min and clean.rating_max"
    checks = {
        f"a rating outside {scale}; {cure}": ~rating.is_between(
            params.rating_min, params.rating_max
        ),
        "a time before 1970 or after 2100; give seconds since 1970": ~time.is_between(
            0, LATEST_TIME
        ),
    }
    for problem, wrong in checks.items():
        bad = complete.filter(wrong)
        if bad.height:
            raise StageError(f"{where}: data row {bad['row'][0] + 1} has {problem}")
    same = ["user_id", "movie_id", "rating", "timestamp"]
    kept = one_of_each(complete, lambda rows: rows.unique(same, keep="first"))
    dropped = {
        "incomplete": raw.height - complete.height,
        "repeated": complete.height - kept.height,
    }
    return kept.select(RATINGS.names()).cast(dict(RATINGS)), dropped


def clean_catalogue(
    raw: pl.DataFrame, rated: pl.Series, originals: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One row per movie, sorted; where there is no title, the id stands for it.

    Args:
        raw: movie_id (numbers), title, year, genres.
        rated: Ids of movies that must have a row.
        originals: `numbering` of the movies, if their ids were no numbers.
    """
    known = raw.drop_nulls("movie_id").unique("movie_id", keep="first", maintain_order=True)
    table = known.cast(dict(CATALOGUE))
    missing = pl.DataFrame({"movie_id": rated.unique()}).join(table, on="movie_id", how="anti")
    table = pl.concat([table, missing], how="diagonal").sort("movie_id")
    name = pl.format("movie {}", "movie_id")
    if originals is not None:
        name = id_table("movie_id", table["movie_id"], originals)["original"]
    return table.with_columns(pl.col("title").fill_null(name), pl.col("genres").fill_null([]))


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


def main(raw: Path, ratings: Path, catalogue: Path, ids: Path, metrics: Path) -> str:
    """Read whatever format lies in `raw`; write the tables, and the original id of every number."""
    params = load_params(Params, "clean")
    columns = load_columns()
    files = find_files([p.name for p in raw.iterdir()], str(raw))
    rated = read_ratings(raw, files, columns)
    implicit = "rating" not in rated.columns
    if implicit:
        rated = rated.with_columns(rating=pl.lit(params.rating_max))
    rated, movies, numbers = number_ids(rated, read_movies(raw, files, columns))
    table, dropped = clean_ratings(rated, params, str(raw / files.ratings))
    if files.movies and not movies["movie_id"].is_in(rated["movie_id"].implode()).any():
        raise StageError(f"{raw / files.movies}: has no rated movie; correct its ids")
    movies = clean_catalogue(movies, table["movie_id"], numbers["movie_id"])
    used = {"user_id": table["user_id"], "movie_id": movies["movie_id"]}
    for name, key in KEYS.items():
        named = id_table(key, used[key], numbers[key])
        write_table(named, ids / f"{name}.parquet", named.schema)
    write_table(table, ratings, RATINGS)
    write_table(movies, catalogue, CATALOGUE)
    write_json(statistics(table, movies, dropped), metrics)
    notes = [f"{name} are numbered anew" for name, key in KEYS.items() if numbers[key] is not None]
    notes += ["no ratings, so every row is a liking"] if implicit else []
    notes += [] if files.movies else ["no movies file"]
    told = f"{table.height:,} ratings of {movies.height:,} movies, dropped {dropped}"
    return "; ".join([told, *notes])


if __name__ == "__main__":
    run_stage(main)
