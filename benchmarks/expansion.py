"""The method of `benchmarks.expand`: a bootstrap of whole users with relabelled movies.

Every new user is a copy of a base user, who is drawn with a probability that is a power of the
number of ratings, so that the mean number of ratings becomes the one to reach. A copy keeps the
length, the order, the ratings and the bursts in time of the history, which is shifted by whole
days.

Every movie becomes a family of movies. A hash of the movie and of the user's community, one of
16,384, selects the member of the family that a user has rated, so that the users of a community
still share their movies. The shares within a family fall with the third power of the position: the
most popular movies stay about as popular as in the base, and the tail becomes long.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from stages.common.tables import DAY
from stages.data.hashing import splitmix64
from stages.data.raw_columns import Columns
from stages.data.raw_formats import find_files
from stages.data.raw_readers import read_movies, read_ratings
from stages.data.raw_values import read_values

COMMUNITIES = 1 << 14
SHARE_EXPONENT = 3.0
MAX_SHIFT = 30  # days
WRITE_BATCH_USERS = 20_000  # bounds the memory for the new ratings
MAX_FAMILY_SIZE = 1000
BISECTION_STEPS = 60


class Size(NamedTuple):
    """The size of a data set; only movies with a rating count."""

    ratings: int
    users: int
    movies: int


class Base(NamedTuple):
    """A real data set, sorted by user and time. Movies are indices from 0."""

    starts: np.ndarray  # [users + 1] index of each user's first rating, and the number of ratings
    movies: np.ndarray  # [ratings]
    stars: np.ndarray  # [ratings]
    times: np.ndarray  # [ratings] seconds
    counts: np.ndarray  # [movies] ratings
    catalogue: pl.DataFrame  # title and genres of each movie


def read_base(folder: Path) -> Base:
    """Read a folder in any raw format."""
    files = find_files([p.name for p in folder.iterdir()], str(folder))
    column_names = Columns(**dict.fromkeys(Columns.model_fields))
    raw_ratings = read_ratings(folder, files, column_names)
    ratings, _ = read_values(raw_ratings, 0, str(folder / files.ratings))
    ratings = ratings.sort("user_id", "timestamp", maintain_order=True)
    counts = ratings.group_by("user_id", maintain_order=True).len()["len"]
    ids, movies = np.unique(ratings["movie_id"].to_numpy(), return_inverse=True)
    catalogue = pl.DataFrame({"movie_id": ids}).join(
        read_movies(folder, files, column_names).unique("movie_id", keep="first"),
        on="movie_id",
        how="left",
        maintain_order="left",
    )
    return Base(
        starts=np.append(0, np.cumsum(counts.to_numpy().astype(np.int64))),
        movies=movies,
        stars=ratings["rating"].to_numpy(),
        times=ratings["timestamp"].to_numpy(),
        counts=np.bincount(movies),
        catalogue=catalogue.select("title", "genres"),
    )


def bisect(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Return the argument of a rising function where it is `target`, or the nearer end."""
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < target else (low, middle)
    return (low + high) / 2


def user_probabilities(lengths: np.ndarray, mean: float) -> np.ndarray:
    """Return [users] probabilities, a power of the lengths, that make the mean length `mean`."""

    def probabilities(power: float) -> np.ndarray:
        weights = np.exp(power * np.log(lengths / lengths.mean()))
        return weights / weights.sum()

    power = bisect(lambda p: float(probabilities(p) @ lengths), mean, -5, 5)
    return probabilities(power)


def family_shares(size: int) -> np.ndarray:
    """Return the [size] shares of the family's ratings that its movies get."""
    weights = np.arange(1, size + 1) ** -SHARE_EXPONENT
    return weights / weights.sum()


def family_sizes(counts: np.ndarray, movies: int, rng: np.random.Generator) -> np.ndarray:
    """Return [base movies] sizes with which about `movies` movies get a rating.

    All sizes are equal, but some are larger by one.

    Args:
        counts: [base movies] ratings of each family in the expanded set.
        movies: Number of movies with a rating.
        rng: Draws the families that are larger by one.
    """

    def expected_movies(mean_size: float) -> float:
        shares_by_size = {int(mean_size): 1 - mean_size % 1, int(mean_size) + 1: mean_size % 1}
        expected = [
            share * (1 - np.exp(-counts[:, None] * family_shares(size))).sum()
            for size, share in shares_by_size.items()
        ]
        return float(sum(expected))

    mean_size = bisect(expected_movies, movies, 1, MAX_FAMILY_SIZE)
    return int(mean_size) + (rng.random(len(counts)) < mean_size % 1)


def expand(base: Base, size: Size, sizes: np.ndarray, seed: int) -> Iterator[pl.DataFrame]:
    """Yield the ratings of the expanded set in batches of users; `sizes` are of the families."""
    rng = np.random.default_rng(seed)
    lengths = np.diff(base.starts)
    probabilities = user_probabilities(lengths, size.ratings / size.users)
    min_size = sizes.min()
    bounds = [np.cumsum(family_shares(min_size + n)) for n in (0, 1)]
    first_member = np.append(0, np.cumsum(sizes))
    for start in range(0, size.users, WRITE_BATCH_USERS):
        users = np.arange(start, min(start + WRITE_BATCH_USERS, size.users))
        base_users = rng.choice(len(lengths), len(users), p=probabilities)
        user_index = np.repeat(np.arange(len(users)), lengths[base_users])
        ends = np.cumsum(lengths[base_users])
        offsets = ends - lengths[base_users] - base.starts[base_users]
        rows = np.arange(ends[-1]) - offsets[user_index]
        movies = base.movies[rows]
        communities = rng.integers(COMMUNITIES, size=len(users))[user_index]
        hashes = splitmix64(communities, movies, seed) / 2.0**64  # from 0 to 1
        is_larger = sizes[movies] > min_size
        member = np.where(is_larger, *(np.searchsorted(b, hashes) for b in reversed(bounds)))
        shift = rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, len(users)) * DAY
        columns = {
            "userId": users[user_index] + 1,
            "movieId": first_member[movies] + np.minimum(member, sizes[movies] - 1) + 1,
            "rating": base.stars[rows],
            "timestamp": np.maximum(base.times[rows] + shift[user_index], 0),
        }
        yield pl.DataFrame(columns)


def expand_catalogue(base: Base, sizes: np.ndarray) -> pl.DataFrame:
    """Return movieId, title (numbered within the family), and genres with `|` between them."""
    number = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = base.catalogue[np.repeat(np.arange(len(sizes)), sizes)]
    numbered_title = pl.format("No. {} of {}", pl.Series(number + 1), "title")
    return rows.select(
        movieId=pl.Series(np.arange(1, len(number) + 1)),
        title=pl.when(pl.Series(number == 0)).then("title").otherwise(numbered_title),
        genres=pl.col("genres").list.join("|"),
    )
