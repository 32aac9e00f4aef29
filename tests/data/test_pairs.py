"""The worked examples of the docstrings; `test_properties` compares with plain loops."""

import numpy as np
import polars as pl

from stages.data.pairs import (
    concat_ranges,
    count_at_most,
    cumcount_and_size,
    isin_sorted,
    pair_keys,
    sorted_pair_keys,
)


def test_keys_sort_like_their_pairs() -> None:
    keys = pair_keys(np.array([0, 1, 1]), np.array([7, 0, 2]))
    assert keys.tolist() == [7, 2**32, 2**32 + 2]
    table = pl.DataFrame({"user_id": [1, 0, 1], "movie_id": [2, 7, 0]})
    assert sorted_pair_keys(table).tolist() == keys.tolist()


def test_nothing_is_in_an_empty_array() -> None:
    keys = np.arange(6).reshape(2, 3)
    assert isin_sorted(keys[0, :0], keys).tolist() == [[False] * 3] * 2


def test_sorted_keys_up_to_each_key_are_counted() -> None:
    counts = count_at_most(np.array([10, 20, 20, 30]), np.array([[25, 10, 20]]))
    assert counts.tolist() == [[3, 1, 3]]


def test_groups_are_counted() -> None:
    index, size = cumcount_and_size(np.array([4, 4, 9, 9, 9]))
    assert index.tolist() == [0, 1, 0, 1, 2]
    assert size.tolist() == [2, 2, 3, 3, 3]


def test_ranges_are_concatenated() -> None:
    ranges = concat_ranges(np.array([5, 0, 9]), np.array([2, 0, 3]))
    assert ranges.tolist() == [5, 6, 9, 10, 11]
