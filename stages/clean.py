"""Stage: raw files -> checked, typed ratings and catalogue; counts of dropped rows, by reason."""

from pathlib import Path
from typing import Annotated, NamedTuple

import polars as pl
from pydantic import Field

from stages.common.files import write_json
from stages.common.params import Section, load_params
from stages.common.stage import StageError, run_stage
from stages.common.tables import CATALOGUE, RATINGS, write_table
from stages.data.data_figures import notices, statistics
from stages.data.id_maps import IdMaps, apply_id_map, build_id_map, id_table, refuse_lookalikes
from stages.data.pairs import deduplicate
from stages.data.raw_columns import Columns
from stages.data.raw_formats import RawFiles, find_files
from stages.data.raw_readers import find_movie_columns, read_movies, read_ratings
from stages.data.raw_times import check_times
from stages.data.raw_values import count_unreadable, read_values, refuse_varied_movies

ID_COLUMNS = {"users": "user_id", "movies": "movie_id"}  # by the name of their id table
NUM_FREQUENT = 3  # ratings outside the scale that a message names


class Params(Section):
    """The scale of the ratings, both ends included, and the rows that may be dropped.

    If the ratings file has no rating column, every row counts as a rating of `rating_max`.
    """

    rating_min: float = Field(ge=-1_000_000, le=1_000_000)
    """The lowest rating of the scale."""

    rating_max: float = Field(ge=-1_000_000, le=1_000_000)
    """The highest rating of the scale."""

    no_rating: list[Annotated[float, Field(ge=-1_000_000, le=1_000_000)]]
    """Ratings that mean "no rating", such as 0, -1 or 99. Their rows are dropped and counted."""

    max_dropped: float = Field(ge=0, le=1)
    """The largest share of the rows of a file that may be dropped because they cannot be read.

    These are the rows without an id, a rating or a time in a form that the pipeline reads.
    """


def clean_ratings(
    raw: pl.DataFrame, params: Params, where: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Type and check ratings; drop the rows that cannot be read, and those without a rating.

    Args:
        raw: The table of `read_ratings`, with ratings.
        params: The rating scale and the rows that may be dropped.
        where: Path of the raw file, for messages.

    Returns:
        The table of `read_values`, and the number of dropped rows by reason.

    Raises:
        StageError: There is no rating, too many rows cannot be read, or a rating or a time is out
            of range.
    """
    if raw.height == 0:
        raise StageError(f"{where}: has no ratings; add the data")
    readable, incomplete = read_values(raw, params.max_dropped, where)
    table = readable
    if params.no_rating:
        table = readable.filter(~pl.col("rating").is_in(params.no_rating))
    if table.height == 0:
        raise StageError(f"clean.no_rating: leaves no rating of {where}; name fewer values")
    _check_scale(table, params, where)
    check_times(table, where)
    return table, {"incomplete": incomplete, "no_rating": readable.height - table.height}


def _check_scale(ratings: pl.DataFrame, params: Params, where: str) -> None:
    """Raise a StageError that names the first row and the frequent ratings outside the scale."""
    low, high = params.rating_min, params.rating_max
    outside = ratings.filter(~pl.col("rating").is_between(low, high))
    if outside.height == 0:
        return
    what = f"data row {outside['row'][0] + 1} has a rating outside {low:g} to {high:g}"
    cure = "set clean.rating_min and clean.rating_max"
    if outside.height == 1:
        raise StageError(f"{where}: {what}; correct it or {cure}")
    counts = outside["rating"].value_counts().sort("count", "rating", descending=[True, False])
    frequent = counts.head(NUM_FREQUENT).rows()
    listed = ", ".join(f"{stars:g} ({count:,}x)" for stars, count in frequent)
    what += f", as {outside.height:,} of {ratings.height:,} rows have, most often {listed}"
    no_rating = [stars for stars, _ in frequent if stars < low]
    if 2 * frequent[0][1] > outside.height and 2 * outside.height < ratings.height:
        no_rating.append(frequent[0][0])
    if no_rating:
        cure = f"add {no_rating[0]:g} to clean.no_rating if it means 'no rating', or {cure}"
    else:
        cure += f", up to {outside['rating'].max():g} for counts"
    raise StageError(f"{where}: {what}; {cure}")


def map_ids(
    ratings: pl.DataFrame, movies: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, IdMaps]:
    """Return both tables with i64 ids, and the id maps of the ids that were no plain numbers."""
    distinct = ratings.select(pl.col("user_id", "movie_id").unique().implode())  # in threads
    id_maps = {
        "user_id": build_id_map(distinct["user_id"][0], movies["movie_id"].clear()),
        "movie_id": build_id_map(distinct["movie_id"][0], movies["movie_id"]),
    }
    movies = apply_id_map(movies, {"movie_id": id_maps["movie_id"]})
    return apply_id_map(ratings, id_maps), movies, id_maps


def drop_repeated(ratings: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return RATINGS without rows that equal an earlier one, and the number of such rows."""
    columns = ["user_id", "movie_id", "rating", "timestamp"]
    unique = deduplicate(ratings, lambda rows: rows.unique(columns, keep="first"))
    table = unique.select(RATINGS.names()).cast(dict(RATINGS))
    return table, ratings.height - unique.height


def clean_catalogue(
    raw: pl.DataFrame, rated_ids: pl.Series, id_map: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return CATALOGUE, sorted by movie, and the number of dropped rows by reason.

    The raw id stands in for a missing title.

    Args:
        raw: movie_id (numbers), title, year, genres.
        rated_ids: Ids of the rated movies, which all get a row.
        id_map: The id map of the movies; None if their raw ids are plain numbers.
    """
    complete = raw.drop_nulls("movie_id")
    movies = complete.unique("movie_id", keep="first", maintain_order=True)
    dropped = {
        "movies_incomplete": raw.height - complete.height,
        "movies_repeated": complete.height - movies.height,
    }
    movies = movies.select(CATALOGUE.names()).cast(dict(CATALOGUE))
    missing = pl.DataFrame({"movie_id": rated_ids.unique()}).join(movies, on="movie_id", how="anti")
    table = pl.concat([movies, missing], how="diagonal").sort("movie_id")
    name = pl.format("movie {}", "movie_id")
    if id_map is not None:
        name = id_table("movie_id", table["movie_id"], id_map)["raw_id"]
    table = table.with_columns(pl.col("title").fill_null(name), pl.col("genres").fill_null([]))
    return table, dropped


class Source(NamedTuple):
    """The tables of a folder of raw files, and what is to be said about them."""

    files: RawFiles
    ratings: pl.DataFrame  # RATINGS
    movies: pl.DataFrame  # CATALOGUE
    id_maps: IdMaps
    dropped: dict[str, int]  # the number of rows by reason
    is_implicit: bool  # the ratings file has no ratings
    movie_columns: dict[str, str]  # those of the ratings file, by field
    unread_years: pl.Series  # text of the column of years that is no year
    num_unlisted: int  # rated movies that the movies file lacks


def read_source(raw: Path, params: Params, columns: Columns) -> Source:
    """Read and check the raw files of the folder `raw`.

    Raises:
        StageError: They cannot be read, or a value is out of range.
    """
    files = find_files([p.name for p in raw.iterdir()], str(raw))
    raw_ratings = read_ratings(raw, files, columns)
    is_implicit = "rating" not in raw_ratings.columns
    if is_implicit:
        raw_ratings = raw_ratings.with_columns(rating=pl.lit(params.rating_max))
    table, dropped = clean_ratings(raw_ratings, params, str(raw / files.ratings))
    del raw_ratings  # memory
    movie_columns = find_movie_columns(raw, files, columns)
    raw_movies = read_movies(raw, files, columns)
    path = str(raw / (files.movies or files.ratings))
    if files.movies:
        count_unreadable(raw_movies, raw_movies.select("movie_id"), params.max_dropped, path)
    else:
        refuse_varied_movies(raw_movies, params.max_dropped, path)
    table, raw_movies, id_maps = map_ids(table, raw_movies)
    for key, id_map in id_maps.items():
        if id_map is not None:
            label = key.removesuffix("_id")
            refuse_lookalikes(id_map["raw_id"], label, str(raw / files.ratings))
    is_rated = raw_movies["movie_id"].is_in(table["movie_id"].implode())
    if not files.movies:
        raw_movies = raw_movies.filter(is_rated)
    elif not is_rated.any():
        raise StageError(f"{path}: has no rated movie; correct its ids")
    table, dropped["repeated"] = drop_repeated(table)
    movies, dropped_movies = clean_catalogue(raw_movies, table["movie_id"], id_maps["movie_id"])
    return Source(
        files=files,
        ratings=table,
        movies=movies,
        id_maps=id_maps,
        dropped=dropped | dropped_movies,
        is_implicit=is_implicit,
        movie_columns=movie_columns,
        unread_years=raw_movies["unread_year"].drop_nulls(),
        num_unlisted=movies.height - raw_movies["movie_id"].drop_nulls().n_unique(),
    )


def describe(source: Source, figures: dict[str, float]) -> list[str]:
    """Return what a reader of the `figures` has to know, one sentence each."""
    files, names = source.files, source.movie_columns
    sentences = notices(
        figures,
        mapped=[name for name, key in ID_COLUMNS.items() if source.id_maps[key] is not None],
        is_implicit=source.is_implicit,
        has_movies=bool(files.movies or {"title", "genres"} & names.keys()),
        last=source.ratings["timestamp"].max(),
    )
    if names:
        use = f"not read, as {files.movies} has them" if files.movies else "those of the movies"
        sentences.append(f"these columns of {files.ratings} are {use}: {', '.join(names.values())}")
    if files.movies and source.num_unlisted:
        count = f"{source.num_unlisted:,} rated movies"
        sentences.append(f"{count} are not in {files.movies}, so they have no title and no genres")
    if len(source.unread_years):
        years = f"{len(source.unread_years):,} years"
        sentences.append(f"{years} cannot be read, such as {source.unread_years[0]!r}")
    return sentences


def main(raw: Path, ratings: Path, catalogue: Path, ids: Path, metrics: Path) -> str:
    """Read the raw files in any format; write RATINGS, CATALOGUE and the raw id of every id."""
    source = read_source(raw, load_params(Params, "clean"), load_params(Columns, "data.columns"))
    table, movies = source.ratings, source.movies
    distinct_ids = {"user_id": table["user_id"], "movie_id": movies["movie_id"]}
    for name, key in ID_COLUMNS.items():
        raw_ids = id_table(key, distinct_ids[key], source.id_maps[key])
        write_table(raw_ids, ids / f"{name}.parquet", raw_ids.schema)
    write_table(table, ratings, RATINGS)
    write_table(movies, catalogue, CATALOGUE)
    figures = statistics(table, movies, source.dropped)
    sentences = describe(source, figures)
    write_json(figures | {"notices": sentences}, metrics)
    counts = f"{table.height:,} ratings of {movies.height:,} movies, {figures['genres']} genres"
    return "; ".join([counts, *sentences])


if __name__ == "__main__":
    run_stage(main)
