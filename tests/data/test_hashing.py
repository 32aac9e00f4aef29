import numpy as np
import polars as pl

from stages.data.hashing import split_by_user, splitmix64


def test_hashes_are_spread_evenly() -> None:
    hashes = splitmix64(np.ones(10_000, dtype=np.int32), np.arange(10_000, dtype=np.int32), 42)
    counts = np.bincount((hashes % np.uint64(8)).astype(int), minlength=8)
    assert counts.min() > 1100
    assert len(np.unique(hashes)) == 10_000


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
