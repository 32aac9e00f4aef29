from pathlib import Path

import polars as pl
import pytest

from stages.time_split import global_split, leave_one_out, order
from tests.small_tables import timed_positives
from tests.tiny_chain import run_chain


def test_ties_are_in_file_order_or_in_an_order_that_the_file_does_not_change() -> None:
    rows = [(1, movie, 5) for movie in (30, 10, 20, 40)]
    assert order(timed_positives(rows), "file", 0)["movie_id"].to_list() == [30, 10, 20, 40]
    hashed = [
        order(timed_positives(r), "hash", 3)["movie_id"].to_list() for r in (rows, rows[::-1])
    ]
    assert hashed[0] == hashed[1]
    orders = {tuple(order(timed_positives(rows), "hash", s)["movie_id"]) for s in range(10)}
    assert len(orders) > 3


def test_leave_one_out_holds_out_the_last_two() -> None:
    rows = [(1, m, m) for m in range(5)] + [(2, 1, 1), (2, 2, 2)]
    train, val, test = leave_one_out(order(timed_positives(rows), "file", 0), 3, 2)
    assert test.select("user_id", "movie_id").rows() == [(1, 4)]
    assert val.select("user_id", "movie_id", "is_target").rows() == [(1, 3, True)]
    assert train.select("user_id", "movie_id").rows() == [(1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert train["inner_val"].to_list() == [False, True, True, False, False]
    assert test["history_length"].to_list() == [4]


@pytest.mark.parametrize(("times", "tied"), [((1, 2, 2), True), ((1, 1, 2), False)])
def test_tied_means_the_last_two_have_one_time(times: tuple, tied: bool) -> None:
    rows = [(1, movie, time) for movie, time in enumerate(times)]
    _, _, test = leave_one_out(order(timed_positives(rows), "file", 0), 3, 2)
    assert test["tied"].to_list() == [tied]


@pytest.mark.parametrize(
    ("targets", "expected"), [("first", [3]), ("last", [5]), ("all", [3, 4, 5])]
)
def test_a_global_split_cuts_all_users_at_one_time(targets: str, expected: list[int]) -> None:
    rows = [(1, m, m * 10) for m in range(6)] + [(2, 7, 35)]
    ordered = order(timed_positives(rows), "file", 0)
    train, val, test = global_split(ordered, 10, 20, 30, targets)
    assert train.select("timestamp", "inner_val").rows() == [(0, False), (10, True)]
    assert val["timestamp"].to_list() == [20]
    # User 2 has no positive before the cut, so they have no target.
    assert test["user_id"].unique().to_list() == [1]
    assert test["movie_id"].to_list() == expected


def test_a_global_split_goes_through_the_whole_chain(tmp_path: Path) -> None:
    changes = {"method": "global", "targets": "all", "val_share": 0.15, "test_share": 0.15}
    run_chain(tmp_path, **{f"time_split__{k}": v for k, v in changes.items()})
    parts = tmp_path / "data" / "split"
    train, val, test = (pl.read_parquet(parts / f"{p}.parquet") for p in ("train", "val", "test"))
    assert train["timestamp"].max() < val["timestamp"].min()
    assert val["timestamp"].max() < test["timestamp"].min()
    lists = tmp_path / "data" / "recommendations" / "ranker_history" / "test.parquet"
    users = pl.read_parquet(lists)["user_id"].unique().implode()
    assert test["user_id"].is_in(users).all()
