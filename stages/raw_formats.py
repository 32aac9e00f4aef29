"""The raw file formats: which files belong together and how each is read.

A reader returns columns of the raw file's own width; `clean` checks and narrows them.
Ratings: user_id, movie_id (i64), rating (f64), timestamp (i64 seconds, or text), with a null
where a value cannot be read. Movies: movie_id (i64), title, year (i16), genres (list of text).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import polars as pl

from stages.common.stage import StageError

RATING_TYPES = {"user_id": pl.Int64, "movie_id": pl.Int64, "rating": pl.Float64}
NO_GENRES = ["(no genres listed)", "unknown", ""]
U_ITEM_GENRES = [
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
]
NAMES = {"userId": "user_id", "movieId": "movie_id", "item_id": "movie_id"}


class Format(NamedTuple):
    """A pair of file names (a leading `*` stands for any name) and their readers."""

    ratings: str
    movies: str
    read_ratings: Callable[[Path], pl.DataFrame]
    read_movies: Callable[[Path], pl.DataFrame]

    def find(self, names: Iterable[str]) -> tuple[str, str] | None:
        """The ratings and the movies file among `names`; the latter is "" where missing."""
        for name in sorted(names):
            stem = name.removesuffix(self.ratings.removeprefix("*"))
            if name == self.ratings or (self.ratings.startswith("*") and name != stem):
                movies = self.movies.replace("*", stem)
                return name, movies if movies in names else ""
        return None


def find_format(names: Iterable[str], where: str) -> tuple[Format, str, str]:
    """The first known format whose ratings file is among `names`."""
    names = set(names)
    for known in FORMATS:
        if found := known.find(names):
            ratings, movies = found
            if not movies:
                raise StageError(
                    f"{where}/{known.movies.replace('*', Path(ratings).stem)}: not found beside "
                    f"{ratings}; add it"
                )
            return known, ratings, movies
    known = ", ".join(f"{f.ratings} + {f.movies}" for f in FORMATS)
    raise StageError(f"{where}: holds no ratings file of a known name; put in {known}")


def raw_files(names: Iterable[str], where: str) -> tuple[str, str]:
    """The names of the two files that a pipeline run needs."""
    return find_format(names, where)[1:]


def _csv(path: Path, types: dict[str, type[pl.DataType]], **options: object) -> pl.DataFrame:
    try:
        header = pl.read_csv(path, n_rows=1, infer_schema=False, **options).columns
    except pl.exceptions.NoDataError:
        raise StageError(f"{path}: is empty; put the data in") from None
    except pl.exceptions.PolarsError as error:
        raise StageError(f"{path}: {str(error).splitlines()[0]}; correct the file") from None
    if options.get("has_header", True):
        names = [_name(column) for column in header]
    else:
        names = list(types)[: len(header)]
    for column in types:
        if column not in names:
            raise StageError(
                f"{path}: column {column!r} is missing among {', '.join(header)}; add it"
            )
    overrides = [types.get(name, pl.String) for name in names]
    try:
        # A value that is no number becomes null and is counted by `clean`.
        table = pl.read_csv(path, schema_overrides=overrides, ignore_errors=True, **options)
    except pl.exceptions.PolarsError as error:
        raise StageError(f"{path}: {str(error).splitlines()[0]}; correct the file") from None
    table.columns = names
    return table.select(list(types))


def _name(column: str) -> str:
    column = column.removeprefix("\ufeff").split(":")[0].strip()
    return NAMES.get(column, column)


def _time_type(path: Path, column: int, **options: object) -> type[pl.DataType]:
    """Text if the first timestamp is one, such as "2005-04-02 23:53:47"."""
    first = pl.read_csv(path, n_rows=1, infer_schema=False, **options)
    if first.height == 0 or len(first.columns) <= column:
        return pl.Int64
    value = (first.item(0, column) or "").strip()
    return pl.String if "-" in value.lstrip("-") or ":" in value else pl.Float64


def _ratings(path: Path, **options: object) -> pl.DataFrame:
    try:
        kind = _time_type(path, 3, **options)
    except pl.exceptions.PolarsError:
        kind = pl.Int64  # _csv gives the message
    return _csv(path, {**RATING_TYPES, "timestamp": kind}, **options)


def _ratings_dat(path: Path) -> pl.DataFrame:
    # "::" is not a single byte; at ":" every second column is empty.
    types = {"user_id": pl.Int64, "a": pl.String, "movie_id": pl.Int64, "b": pl.String}
    types |= {"rating": pl.Float64, "c": pl.String, "timestamp": pl.Int64}
    return _csv(path, types, separator=":", has_header=False, quote_char=None).drop("a", "b", "c")


def _ratings_parquet(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise StageError(f"{path}: {str(error).splitlines()[0]}; write it again") from None
    table = table.rename({c: _name(c) for c in table.columns})
    for column in [*RATING_TYPES, "timestamp"]:
        if column not in table.columns:
            raise StageError(f"{path}: column {column!r} is missing; add it")
    if table.schema["timestamp"].is_temporal():
        table = table.with_columns(pl.col("timestamp").dt.epoch("s"))
    return table.select([*RATING_TYPES, "timestamp"]).cast(RATING_TYPES, strict=False)


def _movies(path: Path, **options: object) -> pl.DataFrame:
    types = {"movie_id": pl.Int64, "title": pl.String, "genres": pl.String}
    return _titled(_csv(path, types, **options), pl.col("genres").str.split("|"))


def _movies_item(path: Path) -> pl.DataFrame:
    types = {"movie_id": pl.Int64, "movie_title": pl.String}
    types |= {"release_year": pl.String, "class": pl.String}
    table = _csv(path, types, separator="\t", quote_char=None)
    titled = pl.concat_str("movie_title", pl.format(" ({})", "release_year"))
    title = pl.when(pl.col("release_year").str.contains(r"^\d{4}$")).then(titled)
    table = table.with_columns(title=title.otherwise("movie_title"))
    return _titled(table, pl.col("class").str.split(" "))


def _lines(path: Path, separator: str) -> pl.DataFrame:
    """Fields of a latin-1 file, as one list column."""
    text = path.read_bytes().decode("latin-1")
    lines = [line for line in text.splitlines() if line]
    if not lines:
        raise StageError(f"{path}: is empty; put the data in")
    return pl.DataFrame({"fields": lines}).select(pl.col("fields").str.split(separator))


def _movies_dat(path: Path) -> pl.DataFrame:
    field = pl.col("fields").list
    table = _lines(path, "::").select(
        movie_id=field.get(0), title=field.get(1), genres=field.last()
    )
    table = table.cast({"movie_id": pl.Int64}, strict=False)
    return _titled(table, pl.col("genres").str.split("|"))


def _movies_u_item(path: Path) -> pl.DataFrame:
    table = _lines(path, "|")
    if table["fields"].list.len().min() != 5 + len(U_ITEM_GENRES):
        raise StageError(f"{path}: a line has not 24 fields; take the file from ml-100k again")
    field = pl.col("fields").list
    flags = [
        pl.when(field.get(5 + i) == "1").then(pl.lit(genre))
        for i, genre in enumerate(U_ITEM_GENRES)
    ]
    table = table.select(
        movie_id=field.get(0).cast(pl.Int64, strict=False),
        title=field.get(1),
        genres=pl.concat_list(flags).list.drop_nulls(),
    )
    return _titled(table, pl.col("genres"))


def _movies_parquet(path: Path) -> pl.DataFrame:
    table = pl.read_parquet(path)
    table = table.rename({c: _name(c) for c in table.columns})
    for column in ["movie_id", "title", "genres"]:
        if column not in table.columns:
            raise StageError(f"{path}: column {column!r} is missing; add it")
    is_list = isinstance(table.schema["genres"], pl.List)
    return _titled(table, pl.col("genres") if is_list else pl.col("genres").str.split("|"))


def _titled(table: pl.DataFrame, genres: pl.Expr) -> pl.DataFrame:
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int16, strict=False)
    named = genres.fill_null([]).list.filter(~pl.element().is_in(NO_GENRES))
    return table.select("movie_id", pl.col("title").str.strip_chars(), year=year, genres=named)


FORMATS = [
    Format("ratings.csv", "movies.csv", _ratings, _movies),
    Format("rating.csv", "movie.csv", _ratings, _movies),
    Format("ratings.dat", "movies.dat", _ratings_dat, _movies_dat),
    Format(
        "u.data",
        "u.item",
        lambda path: _ratings(path, separator="\t", has_header=False),
        _movies_u_item,
    ),
    Format("*.inter", "*.item", lambda path: _ratings(path, separator="\t"), _movies_item),
    Format("ratings.parquet", "movies.parquet", _ratings_parquet, _movies_parquet),
]
