"""Find the columns of a raw file by the params `data.columns`, or by their usual names."""

from pathlib import Path

from stages.common.params import Section
from stages.common.stage import StageError

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


class Columns(Section):
    """Names of the columns in the user's files; null stands for any of the usual names."""

    user: str | None
    """The user's id."""

    item: str | None
    """The movie's id, in the ratings file and in the movies file."""

    rating: str | None
    """The rating."""

    timestamp: str | None
    """Seconds since 1970, or text with the year first, such as 2005-04-02 23:53:47."""

    title: str | None
    """The movie's title."""

    year: str | None
    """The year of release, for titles that do not end with it."""

    genres: str | None
    """The genres, separated by `|`, `;` or `,`, or as a list."""


def find_columns(
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
            listed = " ".join(", ".join(header).split())
            raise StageError(
                f"{path}: has no column {choices[0]!r} among {listed}; "
                f"set data.columns.{field} to one of them"
            )
    return names


def refuse_names(path: Path, columns: Columns) -> None:
    """Raise a StageError if `columns` names any column of a file without a header."""
    for field, name in columns.model_dump().items():
        if name is not None:
            raise StageError(f"data.columns.{field}: {path} has no header; set it to null")
