"""Read each raw format into the same two tables, which the stage `clean` checks and narrows.

Ratings, in the order of the file; null where a field is empty:

    user_id, movie_id  text or whole numbers
    rating             text or numbers; no such column if the file has none
    timestamp          text or numbers

Movies, null where the file says nothing:

    movie_id     text or whole numbers
    title        text, with the year in parentheses at its end
    year         i16
    genres       list of text
    unread_year  text of the column of years that is no year
"""

from pathlib import Path

import polars as pl
import polars.selectors as cs

from stages.common.stage import StageError
from stages.data import raw_text
from stages.data.raw_columns import (
    MOVIE_FIELDS,
    NAMES,
    RATING_FIELDS,
    Columns,
    find_columns,
    match_field,
    refuse_names,
)
from stages.data.raw_formats import IMPLICIT_MARKS, RawFiles
from stages.data.raw_genres import SEPARATORS, split_genres
from stages.data.raw_parquet import read_parquet, read_parquet_header

U_ITEM_GENRES = [
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
]
YEAR_IN_TITLE = r"\((\d{4})\)\s*$"
# A year, a date, or the first and the last year of a series, which may go on.
YEAR = r"^(\d{4})(?:\.0|-\d\d-\d\d.*|\s?[-\u2013]\s?(?:\d{4})?)?$"
NO_YEAR = r"^0+(?:\.0)?$"  # as some data sets write it


def read_ratings(folder: Path, files: RawFiles, columns: Columns) -> pl.DataFrame:
    """Read the ratings file into the first table of the module's docstring.

    Raises:
        StageError: The file cannot be read, or lacks a column.
    """
    path = folder / files.ratings
    if files.kind in ("dat", "ml-100k"):
        refuse_names(path, columns)
        # Polars takes a separator of one byte; at ":" every second column of "::" files is empty.
        step, separator = (2, ":") if files.kind == "dat" else (1, "\t")
        options = {"separator": separator, "quote_char": None, "has_header": False}
        first_row = raw_text.read_first_rows(path, 1, **options)
        if first_row.width <= step * 3:
            raise StageError(f"{path}: has a row with fewer than 4 fields; download it again")
        names = dict(zip((NAMES[f][0] for f in RATING_FIELDS), first_row.columns[::step]))
        return _rename(raw_text.read_columns(path, list(names.values()), **options), names)
    required = {"user", "item", "timestamp"}
    if not any(mark in files.ratings for mark in IMPLICIT_MARKS):
        required.add("rating")
    return _read_named(path, columns, RATING_FIELDS, required, keys=RATING_FIELDS)


def read_movies(folder: Path, files: RawFiles, columns: Columns) -> pl.DataFrame:
    """Read the movies file into the second table of the module's docstring.

    Without a movies file, the movies' columns of the ratings file are read: a movie has one row for
    each different value. The table has no rows if there are no such columns.

    Raises:
        StageError: The file cannot be read, or lacks a column.
    """
    path = folder / files.movies
    if not files.movies:
        table = _read_rated_movies(folder / files.ratings, files, columns)
    elif files.kind in ("dat", "ml-100k"):
        refuse_names(path, columns)
        table = _read_movies_dat(path) if files.kind == "dat" else _read_u_item(path)
    else:
        has_quotes = files.kind != "recbole"
        table = _read_named(
            path, columns, MOVIE_FIELDS, {"item"}, keys=("item",), has_quotes=has_quotes
        )
    return _complete_movies(table, SEPARATORS + " " * (files.kind == "recbole"))


def find_movie_columns(folder: Path, files: RawFiles, columns: Columns) -> dict[str, str]:
    """Return the names of the movies' columns in the ratings file, by field: title, year, genres.

    Raises:
        StageError: There is a movies file that lacks one of them, or there is none, and `columns`
            names a column that the ratings file lacks.
    """
    path = folder / files.ratings
    if files.kind in ("dat", "ml-100k"):
        return {}
    header = read_header(path)
    fields = MOVIE_FIELDS[1:]
    if not files.movies:
        return find_columns(header, columns, fields, set(), path)
    movies_path = folder / files.movies
    movies_header = read_header(movies_path)
    names = {}
    for field in fields:
        name = match_field(header, columns, field, path)
        if name is not None and match_field(movies_header, columns, field, movies_path) is None:
            raise StageError(
                f"{path}: has the column {name!r}, and {files.movies} has no {field}; move the "
                f"column there, or set data.columns.{field} to ''"
            )
        names |= {field: name} if name is not None else {}
    return names


def read_header(path: Path) -> list[str]:
    """Return the names of the columns of a file with a header.

    Raises:
        StageError: The file cannot be read.
    """
    return read_parquet_header(path) if path.suffix == ".parquet" else raw_text.read_header(path)


def _read_named(
    path: Path,
    columns: Columns,
    fields: tuple[str, ...],
    required: set[str],
    *,
    keys: tuple[str, ...],
    has_quotes: bool = True,
) -> pl.DataFrame:
    """Read the columns of `fields` that a file with a header has, with the pipeline's names.

    The values of the fields `keys` tell a record from a line of text.
    """
    if path.suffix == ".parquet":
        return read_parquet(path, columns, fields, required)
    options = raw_text.header_options(path, has_quotes)
    header = raw_text.read_first_rows(path, 1, **options).columns
    names = find_columns(header, columns, fields, required, path)
    key_columns = [names[NAMES[key][0]] for key in keys if NAMES[key][0] in names]
    table = raw_text.read_table(path, list(names.values()), key_columns, **options)
    return _rename(table, names)


def _read_rated_movies(path: Path, files: RawFiles, columns: Columns) -> pl.DataFrame:
    """Read the distinct movies of a ratings file; a value that a movie lacks in a row is filled."""
    nothing = pl.DataFrame(schema={"movie_id": pl.String})
    if not find_movie_columns(path.parent, files, columns):
        return nothing
    table = _read_named(path, columns, MOVIE_FIELDS, {"item"}, keys=("item",))
    table = table.with_columns(raw_text.missing_to_null(cs.string())).drop_nulls("movie_id")
    table = table.unique(maintain_order=True)
    first = pl.all().exclude("movie_id").drop_nulls().first().over("movie_id")
    filled = table.select("movie_id", pl.all().exclude("movie_id").fill_null(first))
    return filled.unique(maintain_order=True)


def _rename(table: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    return table.select(pl.col(name).alias(pipeline_name) for pipeline_name, name in names.items())


def _read_movies_dat(path: Path) -> pl.DataFrame:
    field = pl.col("fields").list
    return raw_text.read_split_lines(path, "::", min_fields=3).select(
        movie_id=field.get(0), title=_inner_fields("::", 1), genres=field.last()
    )


def _read_u_item(path: Path) -> pl.DataFrame:
    num_genres = len(U_ITEM_GENRES)
    table = raw_text.read_split_lines(path, "|", min_fields=5 + num_genres)
    field = pl.col("fields").list
    flags = [
        pl.when(field.get(i - num_genres) == "1").then(pl.lit(genre))
        for i, genre in enumerate(U_ITEM_GENRES)
    ]
    return table.select(
        movie_id=field.get(0),
        title=_inner_fields("|", num_genres + 3),  # two dates and an address follow the title
        genres=pl.concat_list(flags).list.drop_nulls(),
    )


def _inner_fields(separator: str, num_last: int) -> pl.Expr:
    """Return the fields between the first and the last ones as one, as titles have separators."""
    field = pl.col("fields").list
    length = field.len().cast(pl.Int64) - 1 - num_last
    return field.slice(1, length).list.join(separator)


def _complete_movies(table: pl.DataFrame, genre_separators: str) -> pl.DataFrame:
    """Add missing columns, read years and append them to titles, and split genres in text."""
    missing = [c for c in ("title", "year", "genres") if c not in table.columns]
    table = table.with_columns(pl.lit(None, pl.String).alias(c) for c in missing)
    table = table.with_columns(pl.col("title").cast(pl.String))
    table = table.with_columns(raw_text.missing_to_null(cs.string()))
    # A line break in a quoted title becomes a blank.
    title = pl.col("title").str.replace_all(r"\s*\n\s*", " ")
    text = pl.col("year").cast(pl.String).str.strip_chars()
    text = pl.when(~text.str.contains(NO_YEAR)).then(text)
    year = text.str.extract(YEAR)
    unread_year = pl.when(year.is_null()).then(text)
    table = table.with_columns(title=title, year=year, unread_year=unread_year)
    lacks_year = pl.col("year").is_not_null() & ~pl.col("title").str.contains(YEAR_IN_TITLE)
    full_title = pl.when(lacks_year).then(pl.format("{} ({})", "title", "year")).otherwise("title")
    return table.select(
        "movie_id",
        title=full_title,
        year=pl.coalesce(pl.col("title").str.extract(YEAR_IN_TITLE), "year").cast(
            pl.Int16, strict=False
        ),
        genres=split_genres(table["genres"], genre_separators),
        unread_year="unread_year",
    )
