from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.common.stage import StageError
from stages.common.tables import FOLDS
from stages.ranking.folds import (
    Folds,
    assign_folds,
    fold_of_users,
    fold_rows,
    read_folds,
    write_folds,
)


def test_folds_keep_users_whole_and_use_all() -> None:
    sizes = np.array([3, 1, 4, 2, 5])
    group_users = np.array([7, 8, 9, 7, 8])  # two users have two groups
    users = np.repeat(group_users, sizes)
    all_validation_rows = []
    for train_rows, validation_rows in fold_rows(
        assign_folds(group_users, 3, seed=0), group_users, sizes
    ):
        assert not set(users[train_rows]) & set(users[validation_rows])
        assert len(train_rows) + len(validation_rows) == sizes.sum()
        all_validation_rows += validation_rows.tolist()
    assert sorted(all_validation_rows) == list(range(sizes.sum()))


def test_folds_have_equal_sizes_and_depend_on_the_seed() -> None:
    users = np.array([9, 4, 4, 7, 2**31 - 1, 5, 9])
    tables = [assign_folds(users, 3, seed) for seed in (0, 0, 1, 2, 3)]
    for table in tables:
        assert table.schema == FOLDS
        assert table["source_user_id"].to_list() == [4, 5, 7, 9, 2**31 - 1]
        assert sorted(table["fold"]) == [0, 0, 1, 1, 2]
    assert tables[0].equals(tables[1])
    assert len({tuple(table["fold"]) for table in tables}) > 1


def test_a_fold_may_have_one_user_but_not_none() -> None:
    assert sorted(assign_folds(np.array([5, 6, 5]), 2, seed=0)["fold"]) == [0, 1]
    message = r"^lightgbm.nfold: 3 folds of 2 users; set it lower$"
    with pytest.raises(StageError, match=message):
        assign_folds(np.array([5, 6, 5]), 3, seed=0)


def test_the_validation_rows_of_a_fold_are_those_of_its_users() -> None:
    folds = pl.DataFrame([(3, 1), (5, 0), (8, 1)], schema=FOLDS, orient="row")
    rows = fold_rows(folds, np.array([8, 5, 3]), np.array([2, 1, 3]))
    expected = [([0, 1, 3, 4, 5], [2]), ([2], [0, 1, 3, 4, 5])]
    assert [tuple(part.tolist() for part in fold) for fold in rows] == expected


def test_users_of_no_example_are_spread_over_all_folds() -> None:
    folds = pl.DataFrame([(3, 1), (5, 2), (8, 0)], schema=FOLDS, orient="row")
    users = pl.Series("user", [9, 5, 3, 10, 8, 11, 4], dtype=pl.Int32)  # a query each
    numbers = fold_of_users(folds, users)
    assert numbers.to_list() == [0, 2, 1, 1, 0, 2, 1]
    assert numbers.dtype == FOLDS["fold"]


def test_folds_are_read_as_they_are_written(tmp_path: Path) -> None:
    users = pl.DataFrame([(3, 1), (5, 0)], schema=FOLDS, orient="row")
    folds = Folds(users, ["first", "second"])
    write_folds(folds, tmp_path / "basic")
    copy = read_folds(tmp_path / "basic")
    assert copy.users.equals(users)
    assert copy.boosters == folds.boosters
    assert (tmp_path / "basic" / "folds" / "1.txt").read_text() == "second"


def test_folds_of_another_form_are_refused(tmp_path: Path) -> None:
    write_folds(Folds(pl.DataFrame(schema=FOLDS), ["first"]), tmp_path)
    pl.DataFrame({"user_id": [1], "fold": [0]}).write_parquet(tmp_path / "folds/users.parquet")
    with pytest.raises(StageError, match=r"users.parquet: "):
        read_folds(tmp_path)
