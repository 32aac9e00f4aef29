"""Find the columns of a raw file by the params `data.columns`, or by their usual names."""

import re
from pathlib import Path

from stages.common.params import Section
from stages.common.stage import StageError

# By field of `data.columns`: the column's name in the pipeline, and its usual names in raw files.
# A name stands for all that differ from it in case, `_`, `-` and blanks only.
NAMES = {
    "user": ("user_id", ["userId", "user", "reviewerID"]),
    "item": (
        "movie_id",
        [
            *("movieId", "itemId", "item", "bookId", "ISBN", "asin", "parent_asin", "artistID"),
            *("artid", "traid", "musicbrainz-artist-id", "musicbrainz-track-id", "game-title"),
            *("Const", "tconst", "Letterboxd URI"),
        ],
    ),
    "rating": (
        "rating",
        ["rating", "overall", "Book-Rating", "weight", "value", "Your Rating", "My Rating"],
    ),
    "timestamp": (
        "timestamp",
        ["timestamp", "unixReviewTime", "Date Rated", "Date Read", "Date Added"],
    ),
    "title": ("title", ["title", "movie_title", "Book-Title", "primaryTitle"]),
    "year": (
        "year",
        [
            *("year", "release_year", "Year-Of-Publication", "publication_year", "startYear"),
            "Original Publication Year",
        ],
    ),
    "genres": ("genres", ["genres", "genre", "class"]),
}
RATING_FIELDS = ("user", "item", "rating", "timestamp")
MOVIE_FIELDS = ("item", "title", "year", "genres")
# A column of ratings that means another thing in rows of another value of the second column. In
# Steam's log it holds the hours of `play`, and 1 for `purchase`.
MIXED_RATINGS = {"value": "behaviorname"}
# Columns of the exports that a site gives to one person.
EXPORTS = {"letterboxduri": "Letterboxd", "yourrating": "IMDb", "myrating": "Goodreads"}
REPEATED = re.compile(r"_duplicated_\d+$")  # Polars appends it to a name that is there already
DATA = re.compile(r"\s*([+-]?\d+(\.\d+)?|\d{4}-\d\d-\d\d([T ].*)?)\s*")  # a number or a date


class Columns(Section):
    """Names of the columns in the user's files.

    Null stands for any of the usual names, and an empty text for no column.
    """

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
        StageError: Required columns, or ones that `columns` names, are not in the header, or two
            columns of the header may be the same field.
    """
    if "user" in required and match_field(header, columns, "user", path) is None:
        _refuse_export(header, path)
    names, missing = {}, {}
    for field in fields:
        pipeline_name, usual_names = NAMES[field]
        user_name = getattr(columns, field)
        if user_name == "" and field in required:
            raise StageError(f"data.columns.{field}: is '', and {path} needs this column; name it")
        name = match_field(header, columns, field, path)
        if name is not None:
            names[pipeline_name] = name
        elif user_name or field in required:
            missing[field] = user_name or usual_names[0]
    if missing:
        raise StageError(f"{path}: {_explain_missing(missing, header)}")
    _refuse_mixed_ratings(names, header, columns, path)
    return names


def match_field(header: list[str], columns: Columns, field: str, path: Path) -> str | None:
    """Return the name in the header of the column of `field`; None if there is none.

    Raises:
        StageError: Two columns of the header may be this field.
    """
    user_name = getattr(columns, field)
    if user_name == "":
        return None
    plain_names = {plain_name(n) for n in ([user_name] if user_name else NAMES[field][1])}
    matches = [name for name in header if plain_name(name) in plain_names]
    written = [REPEATED.sub("", name) for name in matches]
    exact = [i for i, name in enumerate(written) if user_name in (name, name.split(":")[0])]
    if exact:
        matches, written = [matches[i] for i in exact], [written[i] for i in exact]
    if len(matches) < 2:
        return matches[0] if matches else None
    if len(set(written)) == 1:
        raise StageError(f"{path}: has {len(written)} columns {written[0]!r}; rename the others")
    listed = _listed(list(map(repr, written)))
    raise StageError(
        f"{path}: has the columns {listed}, and each may be the {field}; set data.columns.{field} "
        "to one of them"
    )


def plain_name(name: str) -> str:
    """Return a column's name without case, `_`, `-` and blanks.

    RecBole appends a type to the name, as in `user_id:token`; it is left out.
    """
    return re.sub(r"[\s_-]+", "", REPEATED.sub("", name).split(":")[0]).casefold()


def _refuse_export(header: list[str], path: Path) -> None:
    """Raise a StageError for the header of a file that a site gives to one person."""
    for name in map(plain_name, header):
        if name in EXPORTS:
            raise StageError(
                f"{path}: is the {EXPORTS[name]} export of one person, and the pipeline needs the "
                "ratings of many; for one person, run `python -m stages.serving recommend "
                "--ratings`"
            )


def _explain_missing(missing: dict[str, str], header: list[str]) -> str:
    """Say which columns are missing and what to do.

    Args:
        missing: A usual name by field.
        header: The names that the file has instead.
    """
    data = next((name for name in header if DATA.fullmatch(name)), None)
    if data is not None:
        return f"has {data!r} in its first line, which is no name; add a line of column names"
    listed = " ".join(", ".join(header).split())
    keys = [f"data.columns.{field}" for field in missing]
    names = list(map(repr, missing.values()))
    if len(missing) == 1:
        return f"has no column {names[0]} among {listed}; set {keys[0]} to one of them"
    return f"has no columns {_listed(names)} among {listed}; set {_listed(keys)} to some of them"


def _listed(texts: list[str]) -> str:
    """Return two texts or more as a list in a sentence."""
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def _refuse_mixed_ratings(
    names: dict[str, str], header: list[str], columns: Columns, path: Path
) -> None:
    """Raise a StageError if the ratings, by a usual name, are of several kinds."""
    name = names.get("rating", "")
    kind = MIXED_RATINGS.get(plain_name(name))
    kinds = [other for other in header if plain_name(other) == kind]
    if kinds and not columns.rating:
        raise StageError(
            f"{path}: the meaning of {name!r} depends on {kinds[0]!r}; keep the rows of one kind "
            f"and set data.columns.rating to {name}"
        )


def refuse_names(path: Path, columns: Columns) -> None:
    """Raise a StageError if `columns` names any column of a file without a header."""
    for field, name in columns.model_dump().items():
        if name is not None:
            raise StageError(f"data.columns.{field}: {path} has no header; set it to null")
