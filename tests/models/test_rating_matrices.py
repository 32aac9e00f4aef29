import numpy as np
import polars as pl
import pytest

from stages.common.tables import SEEN
from stages.models.rating_matrices import TIME_GAPS, history_matrix, rating_matrices, time_gaps

HISTORIES = {"user_id": pl.Int32, "history": pl.List(pl.Int32), "timestamps": pl.List(pl.Int64)}
RATINGS = [  # user, movie, positive, age, time
    (4, 10, True, 4, 100),
    (4, 20, False, 3, 100),
    (4, 30, True, 1, 107),
    (4, 50, None, None, None),  # seen, not rated
    (4, 60, False, 0, 108),
    (4, 99, True, 2, 101),  # a movie that the model does not know
    (6, 30, False, 0, 7),
    (9, 20, True, 0, 8),
]


def test_a_history_matrix_is_right_aligned_and_marks_unknown_movies() -> None:
    rows = [(1, [10, 20], [5, 8]), (2, [30, 20, 99, 10], [0, 100, 100, 107])]
    histories = pl.DataFrame(rows, schema=HISTORIES, orient="row")
    movies = history_matrix(histories, np.array([10, 20, 30]), 3)
    assert movies.tolist() == [[-1, 0, 1], [1, -1, 0]]


def test_time_gaps_are_logarithmic_and_bounded() -> None:
    times = np.array([[0, 100, 100, 107], [0, 1, 0, 2**40]])
    mask = np.array([[False, True, True, True], [True] * 4])
    gaps = time_gaps(times, mask)
    assert gaps.tolist() == [[0, 0, 0, 3], [0, 1, 0, TIME_GAPS - 1]]
    assert gaps.dtype == np.int32


@pytest.mark.parametrize(
    ("learns_low", "length", "rows"),
    [
        (True, 5, [[-1, 0, 1, 2, 5], [-1, -1, -1, -1, 2], [-1, -1, -1, -1, 1]]),
        (True, 2, [[2, 5], [-1, 2], [-1, 1]]),
        (False, 3, [[-1, 0, 2], [-1, -1, -1], [-1, -1, 1]]),
    ],
)
def test_the_newest_ratings_of_known_movies_end_the_rows(
    learns_low: bool, length: int, rows: list[list[int]]
) -> None:
    seen = pl.DataFrame(RATINGS, schema=SEEN, orient="row")
    arrays = {"movie_ids": np.array([10, 20, 30, 40, 50, 60]), "position": np.zeros((length, 1))}
    if learns_low:
        arrays["low"] = np.zeros(1)
    movies, gaps, is_low = rating_matrices(seen, np.array([4, 6, 9]), arrays)
    assert movies.tolist() == rows
    assert movies.dtype == gaps.dtype == np.int32
    assert gaps[0, -2:].tolist() == {5: [3, 1], 2: [0, 1], 3: [0, 3]}[length]
    assert (gaps[1:] == 0).all()
    expected = {5: [0, 0, 1, 0, 1], 2: [0, 1], 3: [0, 0, 0]}[length]
    assert is_low[0].tolist() == [bool(x) for x in expected]
    assert is_low[1:, -1].tolist() == [learns_low, False]


def test_a_user_without_ratings_has_an_empty_row() -> None:
    arrays = {"movie_ids": np.array([10]), "position": np.zeros((2, 1))}
    movies, gaps, is_low = rating_matrices(pl.DataFrame(schema=SEEN), np.array([4]), arrays)
    assert movies.tolist() == [[-1, -1]]
    assert not gaps.any()
    assert not is_low.any()
