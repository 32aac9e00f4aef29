import numpy as np
import polars as pl

from stages.data.hashing import split_by_user, splitmix64


def test_hashes_are_spread_evenly() -> None:
    hashes = splitmix64(np.ones(10_000, dtype=np.int32), np.arange(10_000, dtype=np.int32), 42)
    counts = np.bincount((hashes % np.uint64(8)).astype(int), minlength=8)
    assert counts.min() > 1100
    assert len(np.unique(hashes)) == 10_000


def test_a_hash_is_that_of_splitmix64_in_plain_numbers() -> None:
    z = (3 * 2**32 + 2**31 + 5 + (42 + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    for low in (np.array([2**31 + 5]), np.array([2**31 + 5], np.uint32)):
        assert splitmix64(np.array([3], np.int32), low, 42).tolist() == [z ^ (z >> 31)]


def test_a_user_is_in_one_part_with_all_rows_in_order() -> None:
    table = pl.DataFrame({"user_id": [n % 50 for n in range(500)], "row": range(500)})
    parts = split_by_user(table, 4)
    assert len(parts) == 4
    assert all(part.height for part in parts)
    assert sum(part["user_id"].n_unique() for part in parts) == 50
    for part in parts:
        assert part["row"].is_sorted()
    assert pl.concat(parts).sort("row").equals(table)


def test_the_part_of_a_user_does_not_depend_on_the_table() -> None:
    users = pl.DataFrame({"user_id": pl.Series(range(8), dtype=pl.Int32)})
    parts = [part["user_id"].to_list() for part in split_by_user(users, 4)]
    assert parts == [[1, 6], [7], [2, 5], [0, 3, 4]]
    parts = split_by_user(pl.DataFrame({"user_id": range(2000)}), 3)
    assert min(part.height for part in parts) > 600


def test_parts_without_a_user_are_empty() -> None:
    parts = split_by_user(pl.DataFrame({"user_id": [1, 1], "row": [0, 1]}), 4)
    assert [part["row"].to_list() for part in parts] == [[0, 1], [], [], []]
