"""The newest movies of users as matrices, a row per user, the newest last."""

import numpy as np
import polars as pl

from stages.data.pairs import concat_ranges, cumcount_and_size, list_sizes_and_values
from stages.models.towers import Weights

TIME_GAPS = 32


def time_gaps(times: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[n, length] int32 classes of the time since the previous movie of a row.

    The class is log2(1 + seconds), rounded down, and at most `TIME_GAPS` - 1. It is 0 at a row's
    first movie. For example, with padding on the left:

        times  [0, 100, 100, 107]
        mask   [0, 1, 1, 1]
        gaps   [0, 0, 0, 3]

    Args:
        times: [n, length] seconds.
        mask: [n, length] False at padding.
    """
    seconds = np.diff(times, axis=1, prepend=times[:, :1])
    has_previous = mask & np.roll(mask, 1, axis=1)
    has_previous[:, 0] = False
    gaps = np.floor(np.log2(np.where(has_previous, np.maximum(seconds, 0), 0) + 1))
    return np.minimum(gaps, TIME_GAPS - 1).astype(np.int32)


def history_matrix(
    histories: pl.DataFrame, movie_ids: np.ndarray, length: int | None = None
) -> np.ndarray:
    """Return [users, length] indices in `movie_ids`, newest last.

    `length` is by default that of the longest history, at least 1. -1 is padding, or a movie that
    `movie_ids` lacks. For example, with `movie_ids` [10, 20, 30]
    and `length` 3:

        history           indices
        [10, 20]          [-1, 0, 1]
        [30, 20, 99, 10]  [1, -1, 0]
    """
    all_sizes, all_movies = list_sizes_and_values(histories["history"])
    if length is None:
        length = int(all_sizes.max(initial=1))
    sizes = np.minimum(all_sizes, length)
    movies = all_movies[concat_ranges(np.cumsum(all_sizes) - sizes, sizes)]
    index = np.searchsorted(movie_ids, movies).clip(max=len(movie_ids) - 1)
    mask = np.arange(length) >= length - sizes[:, None]
    matrix = np.full(mask.shape, -1, dtype=np.int32)
    matrix[mask] = np.where(movie_ids[index] == movies, index, -1)
    return matrix


def rating_matrices(
    seen: pl.DataFrame, users: np.ndarray, arrays: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `ids`, `gaps` and `is_low` of `towers.encode`: the newest ratings of each user.

    Ratings of movies that the model does not know are left out, and so are the low ratings if it
    has not learned from any.

    Args:
        seen: SEEN of the users.
        users: [n] sorted user_ids.
        arrays: A sequence tower.

    Returns:
        Three [n, length] arrays.
    """
    movie_ids, length = arrays["movie_ids"], len(arrays["position"])
    movies = seen["movie_id"].to_numpy()
    index = np.searchsorted(movie_ids, movies).clip(max=len(movie_ids) - 1)
    # Nulls become NaN: for one user, expressions of Polars would take longer than all of this.
    ages = seen["age"].cast(pl.Float64).to_numpy()
    positive = seen["positive"].cast(pl.Float32).to_numpy()
    is_used = ~np.isnan(ages) & (movie_ids[index] == movies)
    if "low" not in arrays:
        is_used &= positive == 1
    user_index = np.searchsorted(users, seen["user_id"].to_numpy())
    rows = np.flatnonzero(is_used)
    rows = rows[np.lexsort((-ages[rows], user_index[rows]))]
    number, size = cumcount_and_size(user_index[rows])
    columns = length - size + number
    rows, columns = rows[columns >= 0], columns[columns >= 0]
    cells = user_index[rows], columns
    matrix = np.full((len(users), length), -1, dtype=np.int32)
    times = np.zeros(matrix.shape, dtype=np.int64)
    is_low = np.zeros(matrix.shape, dtype=bool)
    matrix[cells] = index[rows]
    times[cells] = seen["timestamp"].to_numpy()[rows]  # every rating has one
    is_low[cells] = positive[rows] == 0
    return matrix, time_gaps(times, matrix >= 0), is_low
