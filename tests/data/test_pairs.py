"""The worked examples of the docstrings; `test_properties` compares with plain loops."""

import numpy as np
import polars as pl

from stages.common.tables import RATINGS
from stages.data.pairs import (
    concat_ranges,
    count_at_most,
    cumcount_and_size,
    isin_sorted,
    latest_ratings,
    list_sizes_and_values,
    pair_keys,
    sorted_pair_keys,
    sorted_unique,
)


def test_keys_sort_like_their_pairs() -> None:
    keys = pair_keys(np.array([0, 1, 1]), np.array([7, 0, 2]))
    assert keys.tolist() == [7, 2**32, 2**32 + 2]
    table = pl.DataFrame({"user_id": [1, 0, 1], "movie_id": [2, 7, 0]})
    assert sorted_pair_keys(table).tolist() == keys.tolist()


def test_keys_of_small_numbers_are_large() -> None:
    keys = pair_keys(np.array([2**31 - 1], np.int32), np.array([2**32 - 1], np.uint32))
    assert keys.dtype == np.int64
    assert keys.tolist() == [2**63 - 1]
    assert pair_keys(np.int32([1]), np.int32([5])).tolist() == [2**32 + 5]


def test_keys_are_sorted_and_each_is_kept_once() -> None:
    assert sorted_unique(np.array([5, 1, 5, 2, 1, 9])).tolist() == [1, 2, 5, 9]
    assert sorted_unique(np.array([3, 3])).tolist() == [3]
    assert sorted_unique(np.array([], dtype=np.int64)).tolist() == []


def test_nothing_is_in_an_empty_array() -> None:
    keys = np.arange(6).reshape(2, 3)
    is_in = isin_sorted(keys[0, :0], keys)
    assert is_in.tolist() == [[False] * 3] * 2
    assert is_in.dtype == bool


def test_sorted_keys_up_to_each_key_are_counted() -> None:
    counts = count_at_most(np.array([10, 20, 20, 30]), np.array([[25, 10, 20], [40, 30, 5]]))
    assert counts.tolist() == [[3, 1, 3], [4, 4, 0]]
    assert counts.dtype == np.int64


def test_the_latest_rating_is_that_of_the_latest_time_then_of_the_last_row() -> None:
    # Movie 1: the later row has the earlier time. Movie 2: equal times, and the last row is first.
    rows = [(1, 1, 5.0, 10, 0), (1, 1, 2.0, 9, 1), (1, 2, 3.0, 7, 4), (1, 2, 1.0, 7, 2)]
    ratings = pl.DataFrame([*rows, (1, 3, 4.0, 1, 3)], schema=RATINGS, orient="row")
    assert latest_ratings(ratings)["row"].to_list() == [0, 4, 3]


def test_groups_are_counted() -> None:
    index, size = cumcount_and_size(np.array([4, 4, 9, 9, 9]))
    assert index.tolist() == [0, 1, 0, 1, 2]
    assert size.tolist() == [2, 2, 3, 3, 3]


def test_lists_have_sizes_and_values() -> None:
    lists = pl.Series([[9, 8], [], [7], [], [6, 5, 4]], dtype=pl.List(pl.Int32))
    for part, sizes, values in (
        (lists, [2, 0, 1, 0, 3], [9, 8, 7, 6, 5, 4]),
        (lists[1:4], [0, 1, 0], [7]),
        (pl.concat([lists[2:3], lists[:2]], rechunk=False), [1, 2, 0], [7, 9, 8]),
        (lists[1:2], [0], []),
        (lists[:0], [], []),
    ):
        actual = list_sizes_and_values(part)
        assert [array.tolist() for array in actual] == [sizes, values]
        assert actual[0].dtype == np.int64


def test_ranges_are_concatenated() -> None:
    ranges = concat_ranges(np.array([5, 0, 9]), np.array([2, 0, 3]))
    assert ranges.tolist() == [5, 6, 9, 10, 11]
