"""Turn the values of the raw ratings into numbers, and drop the rows that cannot be read."""

import re

import polars as pl

from stages.common.stage import StageError
from stages.data.raw_text import MISSING
from stages.data.raw_times import FORMS, to_seconds

# The columns in the order in which a message names them.
LABELS = {"user_id": "user id", "movie_id": "movie id", "rating": "rating", "timestamp": "time"}
CURES = {
    "user_id": "add the ids",
    "movie_id": "add the ids",
    "rating": "write numbers",
    "timestamp": f"write {FORMS}",
}
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


def read_values(raw: pl.DataFrame, max_dropped: float, where: str) -> tuple[pl.DataFrame, int]:
    """Return the rows whose values can all be read, and the number of the other rows.

    Args:
        raw: The ratings as `stages.data.raw_readers` returns them, with ratings.
        max_dropped: The largest share of rows that may be dropped.
        where: Path of the raw file, for messages.

    Returns:
        row (index in `raw`), user_id and movie_id (text or whole numbers), rating (f64),
        timestamp (i64, seconds); and the number of dropped rows.

    Raises:
        StageError: More than `max_dropped` of the rows cannot be read, or none can, or most times
            are numbers such as 20050906.
    """
    values = raw.select(
        _readable_ids(raw["user_id"]),
        _readable_ids(raw["movie_id"]),
        to_numbers(raw["rating"]),
        to_seconds(raw["timestamp"], where).alias("timestamp"),
    ).with_row_index("row")
    dropped = count_unreadable(raw, values, max_dropped, where)
    return values.drop_nulls() if dropped else values, dropped


def count_unreadable(
    raw: pl.DataFrame, values: pl.DataFrame, max_dropped: float, where: str
) -> int:
    """Return the number of rows that cannot be read.

    Args:
        raw: A table with columns of `LABELS`.
        values: The same rows and columns, with null for a value that cannot be read.
        max_dropped: The largest share of rows that may be dropped.
        where: Path of the raw file, for messages.

    Raises:
        StageError: More rows cannot be read, or none can.
    """
    columns = [column for column in LABELS if column in values.columns]
    unreadable = values.select(pl.any_horizontal(pl.col(columns).is_null()))[:, 0]
    count = int(unreadable.sum())
    if count <= max_dropped * raw.height and count < max(raw.height, 1):
        return count
    row = unreadable.arg_max()
    column = next(name for name in columns if values[name][row] is None)
    value, label = raw[column][row], LABELS[column]
    what = f"no {label}" if value is None else f"the {label} {value!r}"
    cure = CURES[column]
    if column == "rating" and DECIMAL_COMMA.fullmatch(str(value)):
        cure = "write a decimal point instead of the comma"
    if count < raw.height:
        cure += ", or set clean.max_dropped higher"
    raise StageError(
        f"{where}: data row {row + 1} has {what}, and {count / raw.height:.1%} of the rows cannot "
        f"be read (clean.max_dropped: {max_dropped:g}); {cure}"
    )


def refuse_varied_movies(movies: pl.DataFrame, max_dropped: float, where: str) -> None:
    """Check that the movies' columns of a ratings file say the same in all rows of a movie.

    Args:
        movies: movie_id, title, year, genres; one row for each different value.
        max_dropped: The largest share of movies that may have several rows.
        where: Path of the ratings file, for messages.

    Raises:
        StageError: More movies have several rows.
    """
    varied = movies.filter(pl.col("movie_id").is_duplicated())
    share = varied["movie_id"].n_unique() / max(movies["movie_id"].n_unique(), 1)
    if share <= max_dropped:
        return
    movie = varied["movie_id"][0]
    first, second = varied.filter(movie_id=movie).head(2).rows(named=True)
    field = next(name for name in ("year", "title", "genres") if first[name] != second[name])
    raise StageError(
        f"{where}: movie {movie} has the {field} {first[field]!r} and the {field} "
        f"{second[field]!r}, and {share:.1%} of the movies have several (clean.max_dropped: "
        f"{max_dropped:g}); set data.columns.{field} to '' if this column is not about movies"
    )


def _readable_ids(ids: pl.Series) -> pl.Series:
    """Return the ids with null for markers of missing values."""
    if ids.dtype != pl.String:
        return ids
    is_missing = ids.str.strip_chars().is_in(MISSING)
    return ids.set(is_missing.fill_null(True), None) if is_missing.any() else ids


def to_numbers(ratings: pl.Series) -> pl.Series:
    """Return ratings as numbers (f64), null where a rating cannot be read."""
    if ratings.dtype == pl.String:
        ratings = ratings.str.strip_chars()
    return ratings.cast(pl.Float64, strict=False).fill_nan(None)
