"""The raw file formats: which files belong together. `stages.data.raw_readers` reads them."""

from collections.abc import Iterable
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


class RawFiles(NamedTuple):
    """The files of a source: `kind` selects their readers; `movies` is "" if there is no file."""

    kind: str
    ratings: str
    movies: str


def find_files(names: Iterable[str], where: str) -> RawFiles:
    """Return the ratings file and the movies file among the file `names` of the folder `where`.

    Raises:
        StageError: There is no ratings file, or more than one file could be it or the movies file.
    """
    names = set(names)
    if ratings := _find_table(names, RATINGS_STEMS, where):
        return RawFiles("table", ratings, _find_table(names, MOVIES_STEMS, where))
    for kind, ratings, movies in FIXED_NAMES:
        for name in sorted(names):
            stem = name.removesuffix(ratings.removeprefix("*"))
            if name == ratings or (ratings.startswith("*") and stem != name):
                movies = movies.replace("*", stem)
                return RawFiles(kind, name, movies if movies in names else "")
    choices = [f"{stem}{{{','.join(SUFFIXES)}}}" for stem in RATINGS_STEMS]
    choices += [ratings for _, ratings, _ in FIXED_NAMES]
    raise StageError(f"{where}: has no ratings file; add one named {', '.join(choices)}")


def raw_file_names(names: Iterable[str], where: str) -> list[str]:
    """Return those of the file `names` of the folder `where` that the pipeline reads."""
    return [name for name in find_files(names, where)[1:] if name]


def _find_table(names: set[str], stems: tuple[str, ...], where: str) -> str:
    """Return the only name that is one of `stems` plus a table suffix, or "" if there is none."""
    matches = [stem + suffix for stem in stems for suffix in SUFFIXES if stem + suffix in names]
    if len(matches) > 1:
        raise StageError(f"{where}: has {' and '.join(matches)}; keep one of them")
    return matches[0] if matches else ""
