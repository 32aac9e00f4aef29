"""The module of the SavedModel takes histories as they come, and lists no seen movie."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from stages.common.tables import SEEN
from stages.models import rating_matrices
from stages.models.user_vectors import user_embeddings
from tests.tiny_chain import LENGTH, random_sequence_tower

MOVIES = np.array([2, 3, 5, 8, 13, 21], dtype=np.int32)
NAMES = np.array([f"tt{movie}" for movie in MOVIES], dtype=object)
TIMES = [0, 50, 50, 4000, 4001, 9000, 9100, 9999, 12_000, 20_000]


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    genres = pl.DataFrame({"movie_id": MOVIES, "a": MOVIES % 2 == 0, "b": MOVIES > 4})
    return random_sequence_tower(np.random.default_rng(5), MOVIES, genres)


@pytest.fixture(scope="module")
def module(arrays: dict[str, np.ndarray]) -> Any:
    """The module whose ids are NAMES."""
    from stages.retrieval.savedmodel import HistoryIndex

    return HistoryIndex(arrays, NAMES)


def lists(module: Any, history: list, seen: list, k: int) -> tuple[list, np.ndarray]:
    from stages.retrieval.ops import tf

    times = [TIMES[: len(row)] for row in history]
    is_low = [[False] * len(row) for row in history]
    output = module.recommend(history, tf.constant(times, tf.int64), is_low, seen, k)
    ids = [[name.decode() for name in row] for row in output["movie_ids"].numpy()]
    return ids, output["scores"].numpy()


def test_classes_of_time_gaps_are_those_of_numpy_at_their_limits() -> None:
    from stages.retrieval.ops import tf
    from stages.retrieval.savedmodel import time_gaps

    seconds = np.array([2**g + step for g in range(34) for step in (-2, -1, 0)])
    times = np.stack([np.zeros_like(seconds), seconds, seconds], axis=1)
    mask = np.ones(times.shape, dtype=bool)
    mask[::5, 0] = False
    expected = rating_matrices.time_gaps(times, mask)
    assert set(range(rating_matrices.TIME_GAPS)) == set(expected[:, 1])
    assert np.array_equal(time_gaps(tf.constant(times), tf.constant(mask)), expected)


def test_vectors_are_those_of_the_table_for_any_length_padding_and_unknown_movie(
    arrays: dict[str, np.ndarray], module: Any
) -> None:
    from stages.retrieval.ops import tf

    longer = [3, 5, 2, 3, 8, 13, 5, 21, 2, 8]
    assert len(longer) > LENGTH
    rows = [longer, [5, 99, 8], [13], [99, 2]]
    users = pl.DataFrame({"user_id": range(len(rows))})
    low = [[n % 3 == 1 for n in range(len(row))] for row in rows]
    seen = [
        (user, *rating, len(row) - 1 - n, TIMES[n])
        for user, row in enumerate(rows)
        for n, rating in enumerate(zip(row, (not is_low for is_low in low[user])))
    ]
    table = pl.DataFrame(seen, schema=SEEN, orient="row")
    _, expected = user_embeddings(arrays, users, table)
    plain = {name: value for name, value in arrays.items() if name != "low"}
    _, without_low = user_embeddings(plain, users, table)
    assert not np.allclose(expected, without_low, atol=0.1)
    from stages.retrieval.savedmodel import HistoryIndex

    for exported, vectors in ((module, expected), (HistoryIndex(plain, NAMES), without_low)):
        for right in (True, False):
            ids, times, is_low = [], [], []
            for row, low_row in zip(rows, low):
                fill = len(longer) - len(row)
                names, seconds = [f"tt{movie}" for movie in row], TIMES[: len(row)]
                ids.append(names + [""] * fill if right else [""] * fill + names)
                times.append(seconds + [0] * fill if right else [0] * fill + seconds)
                is_low.append(low_row + [False] * fill if right else [False] * fill + low_row)
            output = exported.user_vectors(ids, tf.constant(times, tf.int64), is_low)
            assert np.allclose(output["vectors"], vectors, atol=1e-5)


def test_lists_hold_neither_history_nor_seen_and_end_where_movies_do(module: Any) -> None:
    history = [["tt2", "tt3"], ["tt21", ""]]
    (first, second), scores = lists(module, history, [["", "tt8"], ["tt99", ""]], 99)
    assert set(first[:3]) == {"tt5", "tt13", "tt21"}
    assert first[3:] == [""] * 3
    assert set(second[:5]) == set(NAMES) - {"tt21"}
    assert second[5:] == [""]
    assert np.isneginf(scores).tolist() == [[False] * 3 + [True] * 3, [False] * 5 + [True]]
    assert (np.diff(scores[1, :5]) <= 0).all()

    (shorter,), _ = lists(module, history[:1], [[""]], 2)
    assert len(shorter) == 2
    assert not {"tt2", "tt3", ""} & set(shorter)
