"""How each raw format is read; `clean` checks and narrows what comes out.

Ratings: user_id, movie_id (text or whole numbers), rating (f64; no such column where the file has
none), timestamp (f64 seconds, or text), with a null where a value cannot be read. Movies:
movie_id (as above), title (text), year (i16), genres (list of text), null where the file says
nothing.
"""

import dataclasses
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from stages import raw_text
from stages.common.stage import StageError
from stages.raw_formats import IMPLICIT, RawFiles

NO_GENRES = ["(no genres listed)", "unknown", ""]
U_ITEM_GENRES = [
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
]
# Each column's name in the pipeline, then the names that it has in files.
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


@dataclasses.dataclass(frozen=True)
class Columns:
    """What the columns are called in the user's files; null = one of the usual `NAMES`.

    `user`, `item`: the ids, `item` in both files; `rating`; `timestamp`: seconds since 1970, or a
    text such as 2005-04-02 23:53:47; `title` of a movie; `year` of its release, where that does
    not stand behind the title; `genres`, with `|` between them.
    """

    user: str | None
    item: str | None
    rating: str | None
    timestamp: str | None
    title: str | None
    year: str | None
    genres: str | None


def read_ratings(folder: Path, files: RawFiles, columns: Columns) -> pl.DataFrame:
    """The ratings file as in the module's docstring, in its own order."""
    path = folder / files.ratings
    if files.kind in ("dat", "ml-100k"):
        _refuse_names(path, columns)
        # "::" is not a single byte; at ":" every second column is empty.
        step, separator = (2, ":") if files.kind == "dat" else (1, "\t")
        options = {"separator": separator, "quote_char": None, "has_header": False}
        first = raw_text.head(path, **options)
        if first.width <= step * 3:
            raise StageError(f"{path}: a row has less than 4 fields; take the file again")
        found = dict(zip((NAMES[f][0] for f in RATING_FIELDS), first.columns[::step]))
        return _text_ratings(path, first, found, **options)
    needed = {"user", "item", "timestamp"}
    if not any(mark in files.ratings for mark in IMPLICIT):
        needed.add("rating")
    if path.suffix == ".parquet":
        table = _parquet(path, columns, RATING_FIELDS, needed)
        time = table.schema["timestamp"]
        if time.is_temporal():
            table = table.with_columns(pl.col("timestamp").dt.epoch("s"))
        if "rating" in table.columns:
            table = table.with_columns(pl.col("rating").cast(pl.Float64, strict=False))
        return table
    options = raw_text.separator(path)
    first = raw_text.head(path, **options)
    found = _find(first.columns, columns, RATING_FIELDS, needed, path)
    table = _text_ratings(path, first, found, **options)
    raw_text.one_row_per_line(table.height, path)
    return table


def read_movies(folder: Path, files: RawFiles, columns: Columns) -> pl.DataFrame:
    """The movies file as in the module's docstring; without a file, a table without rows."""
    path = folder / files.movies
    if not files.movies:
        table = pl.DataFrame(schema={"movie_id": pl.String})
    elif files.kind in ("dat", "ml-100k"):
        _refuse_names(path, columns)
        table = _movies_dat(path) if files.kind == "dat" else _movies_u_item(path)
    elif path.suffix == ".parquet":
        table = _parquet(path, columns, MOVIE_FIELDS, {"item"})
    else:
        options = raw_text.separator(path)
        if files.kind == "recbole":
            options["quote_char"] = None
        header = raw_text.head(path, **options).columns
        found = _find(header, columns, MOVIE_FIELDS, {"item"}, path)
        table = _csv(path, found, dict.fromkeys(found, pl.String), **options)
        broken = table.filter(pl.any_horizontal(pl.all().str.contains("\n", literal=True)))
        if broken.height:
            where = f"movie {broken['movie_id'][0]} goes over several lines"
            raise StageError(f"{path}: {where}; correct its quotes")
    return _titled(table, " " if files.kind == "recbole" else "|")


def _refuse_names(path: Path, columns: Columns) -> None:
    for field, given in dataclasses.asdict(columns).items():
        if given is not None:
            raise StageError(f"data.columns.{field}: {path} has no header; set it to null")


def _find(
    header: list[str], columns: Columns, fields: tuple[str, ...], needed: set[str], path: Path
) -> dict[str, str]:
    """The pipeline's names of those `fields` that the file has, and the file's own."""
    # RecBole puts a type behind the name, as in `user_id:token`.
    known = {name.split(":")[0].strip(): name for name in header} | {name: name for name in header}
    found = {}
    for field in fields:
        ours, usual = NAMES[field]
        given = getattr(columns, field, None)
        name = next((n for n in ([given] if given else usual) if n in known), None)
        if name is not None:
            found[ours] = known[name]
        elif given or field in needed:
            raise StageError(
                f"{path}: column {given or usual[0]!r} is missing among {', '.join(header)}; "
                f"name the right one in data.columns.{field}"
            )
    return found


def _text_ratings(
    path: Path, first: pl.DataFrame, found: dict[str, str], **options: Any
) -> pl.DataFrame:
    types = {"user_id": pl.String, "movie_id": pl.String, "rating": pl.Float64}
    time = str(first[found["timestamp"]].first() or "").strip()
    text = "-" in time.lstrip("-") or ":" in time  # such as "2005-04-02 23:53:47"
    return _csv(path, found, types | {"timestamp": pl.String if text else pl.Float64}, **options)


def _csv(
    path: Path, found: dict[str, str], types: dict[str, type[pl.DataType]], **options: Any
) -> pl.DataFrame:
    """The columns `found`, by the pipeline's names and the file's (or Polars' own)."""
    overrides = {name: types[ours] for ours, name in found.items()}
    table = raw_text.table(path, overrides, **options)
    return table.select(pl.col(name).alias(ours) for ours, name in found.items())


def _parquet(
    path: Path, columns: Columns, fields: tuple[str, ...], needed: set[str]
) -> pl.DataFrame:
    try:
        found = _find(list(pl.read_parquet_schema(path)), columns, fields, needed, path)
        table = pl.read_parquet(path, columns=list(found.values()))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StageError(f"{path}: {str(error).splitlines()[0]}; write it again") from None
    table = table.select(pl.col(name).alias(ours) for ours, name in found.items())
    # Whole numbers with gaps are often stored as floats.
    table = table.with_columns((IDS & cs.float()).cast(pl.Int64, strict=False))
    return table.with_columns((IDS - cs.integer()).cast(pl.String))


def _movies_dat(path: Path) -> pl.DataFrame:
    field = pl.col("fields").list
    return raw_text.fields(path, "::", 3).select(
        movie_id=field.get(0), title=field.get(1, null_on_oob=True), genres=field.last()
    )


def _movies_u_item(path: Path) -> pl.DataFrame:
    table = raw_text.fields(path, "|", 5 + len(U_ITEM_GENRES))
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


def _titled(table: pl.DataFrame, separator: str) -> pl.DataFrame:
    """Complete the columns; a year stands behind the title; text genres are split."""
    absent = [c for c in ("title", "year", "genres") if c not in table.columns]
    table = table.with_columns(pl.lit(None, pl.String).alias(c) for c in absent)
    title = pl.col("title").cast(pl.String).str.strip_chars()
    year = pl.col("year").cast(pl.String).str.extract(r"^(\d{4})(?:\.0)?$")
    table = table.with_columns(title=title, year=year)
    bare = pl.col("year").is_not_null() & ~pl.col("title").str.contains(YEAR_IN_TITLE)
    dated = pl.when(bare).then(pl.format("{} ({})", "title", "year")).otherwise("title")
    genres = pl.col("genres")
    if not isinstance(table.schema["genres"], pl.List):
        genres = genres.cast(pl.String).str.split(separator)
    return table.select(
        "movie_id",
        title=dated,
        year=pl.coalesce(pl.col("title").str.extract(YEAR_IN_TITLE), "year").cast(
            pl.Int16, strict=False
        ),
        genres=genres.fill_null([]).list.filter(~pl.element().is_in(NO_GENRES)),
    )
