"""Stage: raw files -> checked, typed ratings and catalogue; counts of dropped rows, by reason."""

from pathlib import Path

import polars as pl
from pydantic import Field

from stages.common.files import write_json
from stages.common.params import Section, load_params
from stages.common.stage import StageError, run_stage
from stages.common.tables import CATALOGUE, RATINGS, write_table
from stages.data.id_maps import IdMaps, apply_id_map, build_id_map, id_table
from stages.data.pairs import deduplicate
from stages.data.raw_formats import find_files
from stages.data.raw_readers import Columns, read_movies, read_ratings

ID_COLUMNS = {"users": "user_id", "movies": "movie_id"}  # by the name of their id table
LATEST_TIME = 4_102_444_800  # the year 2100; larger values are most likely milliseconds


class Params(Section):
    """The scale of the ratings, both ends included.

    If the ratings file has no rating column, every row counts as a rating of `rating_max`.
    """

    rating_min: float = Field(ge=-1000, le=1000)
    """The lowest rating of the scale."""

    rating_max: float = Field(ge=-1000, le=1000)
    """The highest rating of the scale."""


def map_ids(
    ratings: pl.DataFrame, movies: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, IdMaps]:
    """Return both raw tables with i64 ids, and the id maps of the ids that were no plain numbers.

    Rows without a readable rating do not decide whether ids are plain numbers. Such a row may be
    a header in the middle of a file.
    """
    readable = ratings.filter(pl.col("rating").is_not_null())
    distinct = readable.select(pl.col("user_id", "movie_id").unique().implode())  # in threads
    id_maps = {
        "user_id": build_id_map(distinct["user_id"][0], movies["movie_id"].clear()),
        "movie_id": build_id_map(distinct["movie_id"][0], movies["movie_id"]),
    }
    movies = apply_id_map(movies, {"movie_id": id_maps["movie_id"]})
    return apply_id_map(ratings, id_maps), movies, id_maps


def clean_ratings(
    raw: pl.DataFrame, params: Params, where: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Type and check ratings; drop incomplete rows and exact duplicates.

    Args:
        raw: user_id, movie_id (numbers), rating, timestamp (seconds or text), in the raw order.
        params: The rating scale.
        where: Path of the raw file, for messages.

    Returns:
        RATINGS in the raw order, and the number of dropped rows by reason.

    Raises:
        StageError: There is no complete row, or a rating or a time is out of range.
    """
    if raw.height == 0:
        raise StageError(f"{where}: has no ratings; add the data")
    if raw.schema["timestamp"] == pl.String:
        text = pl.col("timestamp").str.replace("T", " ", literal=True).str.strip_suffix("Z")
        raw = raw.with_columns(timestamp=text.str.to_datetime(strict=False).dt.epoch("s"))
    table = raw.with_row_index("row").with_columns(pl.col("timestamp").cast(pl.Int64, strict=False))
    complete = table.drop_nulls().filter(pl.col("rating").is_not_nan())
    if complete.height == 0:
        raise StageError(f"{where}: no row has both ids, a rating and a time; check its columns")
    _check_ranges(complete, params, where)
    columns = ["user_id", "movie_id", "rating", "timestamp"]
    unique = deduplicate(complete, lambda rows: rows.unique(columns, keep="first"))
    dropped = {
        "incomplete": raw.height - complete.height,
        "repeated": complete.height - unique.height,
    }
    return unique.select(RATINGS.names()).cast(dict(RATINGS)), dropped


def _check_ranges(ratings: pl.DataFrame, params: Params, where: str) -> None:
    """Raise a StageError that names the first row whose rating or time is out of range."""
    low, high = params.rating_min, params.rating_max
    cure = "correct it or set clean.rating_min and clean.rating_max"
    checks = {
        f"a rating outside {low:g} to {high:g}; {cure}": pl.col("rating").is_between(low, high),
        "a time before 1970 or after 2100; give seconds since 1970": pl.col("timestamp").is_between(
            0, LATEST_TIME
        ),
    }
    for problem, is_valid in checks.items():
        invalid = ratings.filter(~is_valid)
        if invalid.height:
            raise StageError(f"{where}: data row {invalid['row'][0] + 1} has {problem}")


def clean_catalogue(
    raw: pl.DataFrame, rated_ids: pl.Series, id_map: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return CATALOGUE, sorted by movie; the raw id stands in for a missing title.

    Args:
        raw: movie_id (numbers), title, year, genres.
        rated_ids: Ids of the rated movies, which all get a row.
        id_map: The id map of the movies; None if their raw ids are plain numbers.
    """
    movies = raw.drop_nulls("movie_id").unique("movie_id", keep="first", maintain_order=True)
    movies = movies.cast(dict(CATALOGUE))
    missing = pl.DataFrame({"movie_id": rated_ids.unique()}).join(movies, on="movie_id", how="anti")
    table = pl.concat([movies, missing], how="diagonal").sort("movie_id")
    name = pl.format("movie {}", "movie_id")
    if id_map is not None:
        name = id_table("movie_id", table["movie_id"], id_map)["raw_id"]
    return table.with_columns(pl.col("title").fill_null(name), pl.col("genres").fill_null([]))


def statistics(
    ratings: pl.DataFrame, catalogue: pl.DataFrame, dropped: dict[str, int]
) -> dict[str, float]:
    """Return flat figures of the data set; `density` is ratings / (users x rated movies)."""
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
    """Read the raw files in any format; write RATINGS, CATALOGUE and the raw id of every id."""
    params = load_params(Params, "clean")
    columns = load_params(Columns, "data.columns")
    files = find_files([p.name for p in raw.iterdir()], str(raw))
    raw_ratings = read_ratings(raw, files, columns)
    is_implicit = "rating" not in raw_ratings.columns
    if is_implicit:
        raw_ratings = raw_ratings.with_columns(rating=pl.lit(params.rating_max))
    raw_ratings, raw_movies, id_maps = map_ids(raw_ratings, read_movies(raw, files, columns))
    table, dropped = clean_ratings(raw_ratings, params, str(raw / files.ratings))
    if files.movies and not raw_movies["movie_id"].is_in(raw_ratings["movie_id"].implode()).any():
        raise StageError(f"{raw / files.movies}: has no rated movie; correct its ids")
    movies = clean_catalogue(raw_movies, table["movie_id"], id_maps["movie_id"])
    distinct_ids = {"user_id": table["user_id"], "movie_id": movies["movie_id"]}
    for name, key in ID_COLUMNS.items():
        raw_ids = id_table(key, distinct_ids[key], id_maps[key])
        write_table(raw_ids, ids / f"{name}.parquet", raw_ids.schema)
    write_table(table, ratings, RATINGS)
    write_table(movies, catalogue, CATALOGUE)
    write_json(statistics(table, movies, dropped), metrics)
    notes = [f"{name} get new ids" for name, key in ID_COLUMNS.items() if id_maps[key] is not None]
    notes += ["no ratings, so every row is a positive"] if is_implicit else []
    notes += [] if files.movies else ["no movies file"]
    counts = f"{table.height:,} ratings of {movies.height:,} movies, dropped {dropped}"
    return "; ".join([counts, *notes])


if __name__ == "__main__":
    run_stage(main)
