"""Read each raw format into the same two tables, which the stage `clean` checks and narrows.

Ratings, in the order of the file; a value that cannot be read is null:

    user_id, movie_id  text or whole numbers
    rating             f64; no such column if the file has none
    timestamp          f64 seconds, or text

Movies, null where the file says nothing:

    movie_id  text or whole numbers
    title     text, with the year in parentheses at its end
    year      i16
    genres    list of text
"""

from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from stages.common.params import Section
from stages.common.stage import StageError
from stages.data import raw_text
from stages.data.raw_formats import IMPLICIT_MARKS, RawFiles

NO_GENRES = ["(no genres listed)", "unknown", ""]
U_ITEM_GENRES = [
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
]
# By field of `data.columns`: the column's name in the pipeline, and its usual names in raw files.
NAMES = {
    "user": ("user_id", ["userId", "user_id"]),
    "item": ("movie_id", ["movieId", "movie_id", "itemId", "item_id"]),
    "rating": ("rating", ["rating"]),
    "timestamp": ("timestamp", ["timestamp"]),
    "title": ("title", ["title", "movie_title"]),
    "year": ("year", ["year", "release_year"]),
    "genres": ("genres", ["genres", "genre", "class"]),
}
RATING_FIELDS = ("user", "item", "rating", "timestamp")
MOVIE_FIELDS = ("item", "title", "year", "genres")
IDS = cs.by_name("user_id", "movie_id", require_all=False)
YEAR_IN_TITLE = r"\((\d{4})\)\s*$"


class Columns(Section):
    """Names of the columns in the user's files; null stands for any of the usual names."""

    user: str | None
    """The user's id."""

    item: str | None
    """The movie's id, in the ratings file and in the movies file."""

    rating: str | None
    """The rating."""

    timestamp: str | None
    """Seconds since 1970, or text such as 2005-04-02 23:53:47."""

    title: str | None
    """The movie's title."""

    year: str | None
    """The year of release, for titles that do not end with it."""

    genres: str | None
    """The genres, separated by `|`."""


def read_ratings(folder: Path, files: RawFiles, columns: Columns) -> pl.DataFrame:
    """Read the ratings file into the first table of the module's docstring.

    Raises:
        StageError: The file cannot be read, or lacks a column.
    """
    path = folder / files.ratings
    if files.kind in ("dat", "ml-100k"):
        _refuse_names(path, columns)
        # Polars takes a separator of one byte; at ":" every second column of "::" files is empty.
        step, separator = (2, ":") if files.kind == "dat" else (1, "\t")
        options = {"separator": separator, "quote_char": None, "has_header": False}
        first_row = raw_text.read_first_row(path, **options)
        if first_row.width <= step * 3:
            raise StageError(f"{path}: has a row with fewer than 4 fields; download it again")
        names = dict(zip((NAMES[f][0] for f in RATING_FIELDS), first_row.columns[::step]))
        return _read_text_ratings(path, first_row, names, **options)
    required = {"user", "item", "timestamp"}
    if not any(mark in files.ratings for mark in IMPLICIT_MARKS):
        required.add("rating")
    if path.suffix == ".parquet":
        table = _read_parquet(path, columns, RATING_FIELDS, required)
        if table.schema["timestamp"].is_temporal():
            table = table.with_columns(pl.col("timestamp").dt.epoch("s"))
        if "rating" in table.columns:
            table = table.with_columns(pl.col("rating").cast(pl.Float64, strict=False))
        return table
    options = raw_text.header_options(path)
    first_row = raw_text.read_first_row(path, **options)
    names = _find_columns(first_row.columns, columns, RATING_FIELDS, required, path)
    table = _read_text_ratings(path, first_row, names, **options)
    raw_text.check_one_row_per_line(table.height, path)
    return table


def read_movies(folder: Path, files: RawFiles, columns: Columns) -> pl.DataFrame:
    """Read the movies file into the second table of the module's docstring.

    Without a movies file, the table has no rows.

    Raises:
        StageError: The file cannot be read, or lacks a column.
    """
    path = folder / files.movies
    if not files.movies:
        table = pl.DataFrame(schema={"movie_id": pl.String})
    elif files.kind in ("dat", "ml-100k"):
        _refuse_names(path, columns)
        table = _read_movies_dat(path) if files.kind == "dat" else _read_u_item(path)
    elif path.suffix == ".parquet":
        table = _read_parquet(path, columns, MOVIE_FIELDS, {"item"})
    else:
        options = raw_text.header_options(path)
        if files.kind == "recbole":
            options["quote_char"] = None
        header = raw_text.read_first_row(path, **options).columns
        names = _find_columns(header, columns, MOVIE_FIELDS, {"item"}, path)
        table = _read_text(path, names, dict.fromkeys(names, pl.String), **options)
        multiline = table.filter(pl.any_horizontal(pl.all().str.contains("\n", literal=True)))
        if multiline.height:
            movie = multiline["movie_id"][0]
            raise StageError(f"{path}: movie {movie} spans several lines; correct its quotes")
    return _complete_movies(table, " " if files.kind == "recbole" else "|")


def _refuse_names(path: Path, columns: Columns) -> None:
    """Raise a StageError if `columns` names any column of a file without a header."""
    for field, name in columns.model_dump().items():
        if name is not None:
            raise StageError(f"data.columns.{field}: {path} has no header; set it to null")


def _find_columns(
    header: list[str], columns: Columns, fields: tuple[str, ...], required: set[str], path: Path
) -> dict[str, str]:
    """Return the file's column name by the pipeline's name, for each of `fields` in the file.

    Raises:
        StageError: A required column, or one that `columns` names, is not in the header.
    """
    # RecBole appends a type to the name, as in `user_id:token`.
    header_names = {name.split(":")[0].strip(): name for name in header}
    header_names |= {name: name for name in header}
    names = {}
    for field in fields:
        pipeline_name, usual_names = NAMES[field]
        user_name = getattr(columns, field)
        choices = [user_name] if user_name else usual_names
        name = next((choice for choice in choices if choice in header_names), None)
        if name is not None:
            names[pipeline_name] = header_names[name]
        elif user_name or field in required:
            raise StageError(
                f"{path}: has no column {choices[0]!r} among {', '.join(header)}; "
                f"set data.columns.{field} to one of them"
            )
    return names


def _read_text_ratings(
    path: Path, first_row: pl.DataFrame, names: dict[str, str], **options: Any
) -> pl.DataFrame:
    types = {"user_id": pl.String, "movie_id": pl.String, "rating": pl.Float64}
    time = str(first_row[names["timestamp"]].first() or "").strip()
    is_text = "-" in time.lstrip("-") or ":" in time  # such as "2005-04-02 23:53:47"
    types["timestamp"] = pl.String if is_text else pl.Float64
    return _read_text(path, names, types, **options)


def _read_text(
    path: Path, names: dict[str, str], types: dict[str, type[pl.DataType]], **options: Any
) -> pl.DataFrame:
    """Read the columns `names` (file's name by pipeline's name) as `types`, and rename them."""
    file_types = {name: types[pipeline_name] for pipeline_name, name in names.items()}
    return _rename(raw_text.read_columns(path, file_types, **options), names)


def _read_parquet(
    path: Path, columns: Columns, fields: tuple[str, ...], required: set[str]
) -> pl.DataFrame:
    try:
        names = _find_columns(list(pl.read_parquet_schema(path)), columns, fields, required, path)
        table = pl.read_parquet(path, columns=list(names.values()))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StageError(f"{path}: {str(error).splitlines()[0]}; write it again") from None
    # Whole numbers with gaps are often stored as floats.
    table = _rename(table, names).with_columns((IDS & cs.float()).cast(pl.Int64, strict=False))
    return table.with_columns((IDS - cs.integer()).cast(pl.String))


def _rename(table: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    return table.select(pl.col(name).alias(pipeline_name) for pipeline_name, name in names.items())


def _read_movies_dat(path: Path) -> pl.DataFrame:
    field = pl.col("fields").list
    return raw_text.read_split_lines(path, "::", min_fields=3).select(
        movie_id=field.get(0), title=field.get(1, null_on_oob=True), genres=field.last()
    )


def _read_u_item(path: Path) -> pl.DataFrame:
    table = raw_text.read_split_lines(path, "|", min_fields=5 + len(U_ITEM_GENRES))
    field = pl.col("fields").list
    flags = [
        pl.when(field.get(5 + i) == "1").then(pl.lit(genre))
        for i, genre in enumerate(U_ITEM_GENRES)
    ]
    return table.select(
        movie_id=field.get(0),
        title=field.get(1),
        genres=pl.concat_list(flags).list.drop_nulls(),
    )


def _complete_movies(table: pl.DataFrame, genre_separator: str) -> pl.DataFrame:
    """Add missing columns, append the year to titles without one, and split genres in text."""
    missing = [c for c in ("title", "year", "genres") if c not in table.columns]
    table = table.with_columns(pl.lit(None, pl.String).alias(c) for c in missing)
    title = pl.col("title").cast(pl.String).str.strip_chars()
    year = pl.col("year").cast(pl.String).str.extract(r"^(\d{4})(?:\.0)?$")
    table = table.with_columns(title=title, year=year)
    lacks_year = pl.col("year").is_not_null() & ~pl.col("title").str.contains(YEAR_IN_TITLE)
    full_title = pl.when(lacks_year).then(pl.format("{} ({})", "title", "year")).otherwise("title")
    genres = pl.col("genres")
    if not isinstance(table.schema["genres"], pl.List):
        genres = genres.cast(pl.String).str.split(genre_separator)
    return table.select(
        "movie_id",
        title=full_title,
        year=pl.coalesce(pl.col("title").str.extract(YEAR_IN_TITLE), "year").cast(
            pl.Int16, strict=False
        ),
        genres=genres.fill_null([]).list.filter(~pl.element().is_in(NO_GENRES)),
    )
