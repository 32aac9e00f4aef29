"""The raw file formats: which files belong together. `stages.raw_readers` reads them."""

from collections.abc import Iterable
from typing import NamedTuple

from stages.common.stage import StageError

SUFFIXES = (".csv", ".tsv", ".parquet")
# Tables with named columns, of any combination of name and suffix.
RATINGS, MOVIES = ("ratings", "rating", "interactions"), ("movies", "movie", "items")
# Older formats: kind, ratings file, movies file; a leading `*` stands for any name.
OTHERS = (
    ("dat", "ratings.dat", "movies.dat"),
    ("ml-100k", "u.data", "u.item"),
    ("recbole", "*.inter", "*.item"),
)
# Files whose name says that a row is a liking even without a rating.
IMPLICIT = ("interactions.", ".inter")


class RawFiles(NamedTuple):
    """The files of a source: `kind` chooses their readers, `movies` is "" where there is none."""

    kind: str
    ratings: str
    movies: str


def find_files(names: Iterable[str], where: str) -> RawFiles:
    """The ratings file and the movies file among the `names` of the folder `where`.

    Raises:
        StageError: There is no ratings file, or there are two that fit.
    """
    names = set(names)
    if ratings := _table(names, RATINGS, where):
        return RawFiles("table", ratings, _table(names, MOVIES, where))
    for kind, ratings, movies in OTHERS:
        for name in sorted(names):
            stem = name.removesuffix(ratings.removeprefix("*"))
            if name == ratings or (ratings.startswith("*") and stem != name):
                movies = movies.replace("*", stem)
                return RawFiles(kind, name, movies if movies in names else "")
    known = [f"{stem}{{{','.join(SUFFIXES)}}}" for stem in RATINGS]
    known += [ratings for _, ratings, _ in OTHERS]
    raise StageError(f"{where}: holds no ratings file of a known name; put in {', '.join(known)}")


def raw_files(names: Iterable[str], where: str) -> list[str]:
    """The names of the files that a pipeline run needs."""
    return [name for name in find_files(names, where)[1:] if name]


def _table(names: set[str], stems: tuple[str, ...], where: str) -> str:
    """The only one of `names` with one of `stems` and a suffix of a table; "" if there is none."""
    found = [stem + suffix for stem in stems for suffix in SUFFIXES if stem + suffix in names]
    if len(found) > 1:
        raise StageError(f"{where}: holds {' and '.join(found)}; keep one of them")
    return found[0] if found else ""
