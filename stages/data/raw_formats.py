"""The raw file formats: which files belong together. `stages.data.raw_readers` reads them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from stages.common.stage import StageError

# Tables with named columns may have any combination of stem and suffix.
SUFFIXES = (".csv", ".tsv", ".parquet")
RATINGS_STEMS = ("ratings", "rating", "interactions")
MOVIES_STEMS = ("movies", "movie", "items")
# Formats with fixed file names: kind, ratings file, movies file. A leading `*` stands for any stem.
FIXED_NAMES = (
    ("dat", "ratings.dat", "movies.dat"),
    ("ml-100k", "u.data", "u.item"),
    ("recbole", "*.inter", "*.item"),
)
# Parts of file names that mark implicit feedback: every row is a positive, even without a rating.
IMPLICIT_MARKS = ("interactions.", ".inter")
# The end of a file's name in a data set that is split already, in the order of time.
PARTS = (".train", ".valid", ".val", ".test")


class RawFiles(NamedTuple):
    """The files of a source: `kind` selects their readers; `movies` is "" if there is no file."""

    kind: str
    ratings: str
    movies: str


def find_files(names: Iterable[str], where: str) -> RawFiles:
    """Return the ratings file and the movies file among the file `names` of the folder `where`.

    Raises:
        StageError: There is no ratings file, or a file of a known name would be left unread.
    """
    visible = sorted(name for name in names if not name.startswith("."))
    ratings = _matches(visible, RATINGS_STEMS, [name for _, name, _ in FIXED_NAMES])
    movies = _matches(visible, MOVIES_STEMS, [name for _, _, name in FIXED_NAMES])
    if not ratings:
        choices = [f"{stem}{{{','.join(SUFFIXES)}}}" for stem in RATINGS_STEMS]
        choices += [name for _, name, _ in FIXED_NAMES]
        raise StageError(f"{where}: has no ratings file; add one named {', '.join(choices)}")
    if len(ratings) > 1:
        raise StageError(f"{where}: has {_listed(ratings)}; {_cure_of_several(ratings)}")
    if len(movies) > 1:
        raise StageError(f"{where}: has {_listed(movies)}; keep one of them")
    kind, choices = _movies_choices(ratings[0])
    if movies and movies[0] not in choices:
        raise StageError(
            f"{where}: has {ratings[0]} and {movies[0]}, which do not belong together; "
            f"write the movies as {choices[0]}, or remove {movies[0]}"
        )
    return RawFiles(kind, ratings[0], movies[0] if movies else "")


def raw_file_names(names: Iterable[str], where: str) -> list[str]:
    """Return those of the file `names` of the folder `where` that the pipeline reads."""
    return [name for name in find_files(names, where)[1:] if name]


def _table_names(stems: tuple[str, ...]) -> list[str]:
    return [stem + suffix for stem in stems for suffix in SUFFIXES]


def _matches(names: list[str], stems: tuple[str, ...], patterns: list[str]) -> list[str]:
    """Return those of `names` that are a table of one of `stems`, or match one of `patterns`."""
    tables = [name for name in _table_names(stems) if name in names]
    return tables + [n for n in names if any(fnmatchcase(n, pattern) for pattern in patterns)]


def _movies_choices(ratings: str) -> tuple[str, list[str]]:
    """Return the kind of a ratings file, and the names that its movies file may have."""
    for kind, pattern, movies in FIXED_NAMES:
        if fnmatchcase(ratings, pattern):
            return kind, [movies.replace("*", ratings.rsplit(".", 1)[0])]
    return "table", _table_names(MOVIES_STEMS)


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _cure_of_several(ratings: list[str]) -> str:
    """Say how to join the parts of a data set that is split already, or to keep one file."""
    parts = {part: name for part in PARTS for name in ratings if name.endswith(f"{part}.inter")}
    stems = {name.removesuffix(f"{part}.inter") for part, name in parts.items()}
    if len(parts) < len(ratings) or len(stems) > 1:
        return "keep one of them"
    first, *others = parts.values()
    whole = f"{stems.pop()}.inter"
    command = f"(cat {first}; tail -qn +2 {' '.join(others)}) > {whole}"
    return f"join them with {command} and keep {whole} instead"
