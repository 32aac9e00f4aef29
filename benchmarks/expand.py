"""Grow a real data set to any size, for measurements of time and memory.

    python -m benchmarks.expand --base path/to/ml-1m --like ml-20m --out /tmp/expanded

`base` is a folder in any raw format; `out` is a folder for `data.source`, in GroupLens csv, or in
parquet with `--format parquet`. It prints how the result compares with the base and with what is
known of the set that it imitates.

Method: a bootstrap of whole users with relabelled movies. Every new user is a real one, drawn with
a probability that goes with a power of the number of ratings, so that the mean is the wanted one:
each keeps the length, the order, the ratings and the bursts in time of a real history, which moves
by whole days. Every movie becomes a family of movies; which one of the family a user has rated is
a hash of the movie and of the user's community, one of 16,384, so that the users of a community go
on sharing their movies. The shares within a family fall with the third power of the place: the
most popular movies stay about as popular as they were, and the tail gets long.

It is made to measure cost. Users that were drawn twice are nearly alike, so figures of the quality
of recommendations on it say nothing.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from stages.hashing import mix
from stages.raw_formats import find_files
from stages.raw_readers import Columns, read_movies, read_ratings

COMMUNITIES = 1 << 14
STEEPNESS = 3.0
DAYS = 30  # by which a history moves at most
USERS_AT_ONCE = 20_000
LARGEST_FAMILY = 1000


class Size(NamedTuple):
    """Of a data set: all ratings, all users, and the movies that somebody rated."""

    ratings: int
    users: int
    movies: int


SIZES = {
    "ml-20m": Size(20_000_263, 138_493, 26_744),
    "1m": Size(1_000_000, 6_000, 3_700),
    "5m": Size(5_000_000, 34_600, 14_000),
    "100m": Size(100_000_000, 692_000, 60_000),
}
# Quartiles and maxima of ML-20M, from its ratings.csv.
KNOWN = {"ml-20m": {"ratings per user": (35, 68, 155, 9254), "per movie": (3, 18, 205, 67310)}}


class Base(NamedTuple):
    """A real data set, sorted by user and time; movies are numbered from 0."""

    starts: np.ndarray  # [users + 1] where each user's ratings begin
    movies: np.ndarray  # [ratings]
    stars: np.ndarray  # [ratings]
    times: np.ndarray  # [ratings] seconds
    counts: np.ndarray  # [movies] ratings
    catalogue: pl.DataFrame  # title and genres of each movie


def read_base(folder: Path) -> Base:
    """Read a folder in any raw format."""
    files = find_files([p.name for p in folder.iterdir()], str(folder))
    usual = Columns(*[None] * 7)
    rated = read_ratings(folder, files, usual).drop_nulls()
    rated = rated.sort("user_id", "timestamp", maintain_order=True)
    lengths = (
        rated.group_by("user_id", maintain_order=True).len()["len"].to_numpy().astype(np.int64)
    )
    ids, movies = np.unique(rated["movie_id"].to_numpy(), return_inverse=True)
    named = read_movies(folder, files, usual).unique("movie_id", keep="first")
    catalogue = pl.DataFrame({"movie_id": ids}).join(
        named, on="movie_id", how="left", maintain_order="left"
    )
    return Base(
        np.append(0, np.cumsum(lengths)),
        movies,
        rated["rating"].to_numpy(),
        rated["timestamp"].cast(pl.Int64).to_numpy(),
        np.bincount(movies),
        catalogue.select("title", "genres"),
    )


def bisect(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a rising function has the value `wanted`, or the nearer end."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2


def draw_chances(lengths: np.ndarray, mean: float) -> np.ndarray:
    """[users] probabilities, a power of the lengths, under which the mean length is `mean`."""

    def chances(power: float) -> np.ndarray:
        weights = np.exp(power * np.log(lengths / lengths.mean()))
        return weights / weights.sum()

    return chances(bisect(lambda power: float(chances(power) @ lengths), mean, -5, 5))


def shares(size: int) -> np.ndarray:
    """[size] what each movie of a family gets of its ratings."""
    weights = np.arange(1, size + 1) ** -STEEPNESS
    return weights / weights.sum()


def family_sizes(counts: np.ndarray, movies: int, rng: np.random.Generator) -> np.ndarray:
    """[base movies] sizes, all equal up to one, so that about `movies` get a rating.

    Args:
        counts: [base movies] ratings of each family in the expanded set.
        movies: How many are to be rated.
        rng: Draws which families are larger by one.
    """

    def rated(mean: float) -> float:
        sizes = {int(mean): 1 - mean % 1, int(mean) + 1: mean % 1}
        expected = [
            share * (1 - np.exp(-counts[:, None] * shares(size))).sum()
            for size, share in sizes.items()
        ]
        return float(sum(expected))

    mean = bisect(rated, movies, 1, LARGEST_FAMILY)
    return int(mean) + (rng.random(len(counts)) < mean % 1)


def expand(base: Base, size: Size, sizes: np.ndarray, seed: int) -> Iterator[pl.DataFrame]:
    """The ratings of the expanded set, some users at a time; `sizes` are those of the families."""
    rng = np.random.default_rng(seed)
    lengths = np.diff(base.starts)
    chances = draw_chances(lengths, size.ratings / size.users)
    smallest = sizes.min()
    bounds = [np.cumsum(shares(smallest + n)) for n in (0, 1)]
    first = np.append(0, np.cumsum(sizes))
    for start in range(0, size.users, USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, size.users))
        drawn = rng.choice(len(lengths), len(users), p=chances)
        owner = np.repeat(np.arange(len(users)), lengths[drawn])
        ends = np.cumsum(lengths[drawn])
        rows = np.arange(ends[-1]) - (ends - lengths[drawn] - base.starts[drawn])[owner]
        movies = base.movies[rows]
        place = mix(rng.integers(COMMUNITIES, size=len(users))[owner], movies, seed) / 2.0**64
        larger = sizes[movies] > smallest
        member = np.where(larger, *(np.searchsorted(b, place) for b in reversed(bounds)))
        shift = rng.integers(-DAYS, DAYS + 1, len(users)) * 86_400
        table = {
            "userId": users[owner] + 1,
            "movieId": first[movies] + np.minimum(member, sizes[movies] - 1) + 1,
            "rating": base.stars[rows],
            "timestamp": np.maximum(base.times[rows] + shift[owner], 0),
        }
        yield pl.DataFrame(table)


def written(tables: Iterator[pl.DataFrame], path: Path) -> Iterator[pl.DataFrame]:
    """Append every table to the csv or parquet file, and pass it on."""
    writer = None
    with path.open("wb") as file:
        for table in tables:
            if path.suffix == ".csv":
                table.write_csv(file, include_header=file.tell() == 0)
            else:
                rows = table.to_arrow()
                writer = writer or pq.ParquetWriter(file, rows.schema)
                writer.write_table(rows)
            yield table
        if writer:
            writer.close()


def families(base: Base, sizes: np.ndarray) -> pl.DataFrame:
    """The catalogue: movieId, title (numbered within the family) and genres with `|` between."""
    number = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = base.catalogue[np.repeat(np.arange(len(sizes)), sizes)]
    named = pl.format("No. {} of {}", pl.Series(number + 1), "title")
    return rows.select(
        movieId=pl.Series(np.arange(1, len(number) + 1)),
        title=pl.when(pl.Series(number == 0)).then("title").otherwise(named),
        genres=pl.col("genres").list.join("|"),
    )


def spread(counts: np.ndarray) -> tuple[int, ...]:
    """Quartiles and the largest."""
    return tuple(int(x) for x in np.percentile(counts, [25, 50, 75, 100]))


def describe(base: Base, users: np.ndarray, movies: np.ndarray, like: str) -> str:
    """A table of the base, of what was made (ratings of each user and movie) and of `like`."""
    known = KNOWN.get(like, {})
    lines = ["| | base | expanded | " + like + " |", "| --- | ---: | ---: | ---: |"]
    wanted = SIZES[like]
    sums = {"ratings": len(base.movies), "users": len(base.starts) - 1, "movies": len(base.counts)}
    made = {"ratings": users.sum(), "users": len(users), "movies": (movies > 0).sum()}
    for name, figure in sums.items():
        lines.append(f"| {name} | {figure:,} | {made[name]:,} | {getattr(wanted, name):,} |")
    pairs = {
        "ratings per user": (np.diff(base.starts), users),
        "per movie": (base.counts, movies[movies > 0]),
    }
    for name, (before, after) in pairs.items():
        cells = [spread(before), spread(after), known.get(name, ())]
        texts = [" / ".join(f"{x:,}" for x in cell) for cell in cells]
        lines.append(f"| {name}: quartiles, most | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, write the folder, print the comparison."""
    parser = argparse.ArgumentParser(description="Grow a data set, for measurements.")
    parser.add_argument("--base", type=Path, required=True, help="a folder with raw files")
    parser.add_argument("--like", choices=SIZES, default="ml-20m", help="the size wanted")
    parser.add_argument("--out", type=Path, required=True, help="a folder to make")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True)
    base, size = read_base(chosen.base), SIZES[chosen.like]
    counts = base.counts * (size.ratings / len(base.movies))
    sizes = family_sizes(counts, size.movies, np.random.default_rng(chosen.seed))
    families(base, sizes).write_csv(chosen.out / "movies.csv")
    users, movies = np.zeros(size.users, dtype=np.int64), np.zeros(sizes.sum(), dtype=np.int64)
    tables = expand(base, size, sizes, chosen.seed)
    for table in written(tables, chosen.out / f"ratings.{chosen.format}"):
        users += np.bincount(table["userId"] - 1, minlength=len(users))
        movies += np.bincount(table["movieId"] - 1, minlength=len(movies))
    print(describe(base, users, movies, chosen.like))


if __name__ == "__main__":
    main()
