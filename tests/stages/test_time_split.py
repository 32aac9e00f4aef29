from pathlib import Path

import polars as pl
import pytest

from stages.time_split import Params, Split, global_split, leave_one_out, order, time_cuts
from tests.conftest import tiny_tables
from tests.small_tables import timed_positives
from tests.tiny_chain import LENGTH, run_chain


def test_ties_are_in_file_order_or_in_an_order_that_the_file_does_not_change() -> None:
    rows = [(1, movie, 5) for movie in (30, 10, 20, 40)]
    assert order(timed_positives(rows), "file", 0)["movie_id"].to_list() == [30, 10, 20, 40]
    hashed = [
        order(timed_positives(r), "hash", 3)["movie_id"].to_list() for r in (rows, rows[::-1])
    ]
    assert hashed[0] == hashed[1]
    orders = {tuple(order(timed_positives(rows), "hash", s)["movie_id"]) for s in range(10)}
    assert len(orders) > 3


def split_last(rows: list[tuple[int, int, int]], inner_val_targets: int = 2) -> Split:
    """The leave-one-out split of user, movie and time."""
    return leave_one_out(order(timed_positives(rows), "file", 0), 3, inner_val_targets)


def test_leave_one_out_holds_out_the_last_two() -> None:
    split = split_last([(1, m, m) for m in range(5)] + [(2, 1, 1), (2, 2, 2)])
    pairs = ["user_id", "movie_id", "history_length"]
    assert split.test_targets.select(pairs).rows() == [(1, 4, 4)]
    assert split.val_targets.select(pairs).rows() == [(1, 3, 3)]
    assert split.inner_val_targets.select(pairs).rows() == [(1, 1, 1), (1, 2, 1)]
    assert split.train["movie_id"].to_list() == [0, 1, 2, 1, 2]
    assert split.train["inner_val"].to_list() == [False, True, True, False, False]
    assert split.val["movie_id"].to_list() == [3]
    assert split.later["movie_id"].to_list() == [4]
    assert not split.test_targets["new_user"].any()


def test_a_first_positive_is_no_target() -> None:
    split = split_last([(1, m, m) for m in range(3)] + [(2, m, m) for m in range(4)])
    rows = split.inner_val_targets.select("user_id", "movie_id", "history_length").rows()
    assert rows == [(2, 1, 1)]
    assert split.train.select("movie_id", "inner_val").rows() == [(0, False), (0, False), (1, True)]


def test_the_cuts_of_a_global_split_leave_the_shares_after_them() -> None:
    params = Params(
        method="global",
        ties="file",
        min_positives=3,
        inner_val_targets=1,
        val_share=0.125,
        test_share=0.25,
        targets="all",
    )
    positives = timed_positives([(n % 3, n, 10 * n) for n in (3, 7, 0, 5, 1, 6, 2, 4)])
    # Of 8 positives, 2 are after the test cut, 3 after the val cut, 4 after the inner_val cut.
    assert time_cuts(positives, params) == [40, 50, 60]


@pytest.mark.parametrize(("times", "tied"), [((1, 2, 2), True), ((1, 1, 2), False)])
def test_tied_means_the_last_two_have_one_time(times: tuple, tied: bool) -> None:
    test = split_last([(1, movie, time) for movie, time in enumerate(times)]).test_targets
    assert test["tied"].to_list() == [tied]
    assert test["gap"].to_list() == [times[2] - times[1]]


# The user 1 has positives before and after every cut. The users 2 and 3 come at and after the last
# cut; 3 has one positive only, so there is no history for a target. User 4 leaves before it.
GLOBAL = [(1, m, m * 10) for m in range(6)] + [(2, 7, 30), (2, 8, 36), (2, 9, 37), (3, 7, 40)]
GLOBAL += [(4, 1, 1), (4, 2, 12), (4, 3, 25)]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("first", [(1, 3, 3), (2, 8, 1)]),
        ("last", [(1, 5, 5), (2, 9, 2)]),
        ("all", [(1, 3, 3), (1, 4, 4), (1, 5, 5), (2, 8, 1), (2, 9, 2)]),
    ],
)
def test_a_global_split_cuts_all_users_at_one_time(targets: str, expected: list[tuple]) -> None:
    ordered = order(timed_positives(GLOBAL), "file", 0)
    split = global_split(ordered, [10, 20, 30], targets)
    assert split.train.select("timestamp", "inner_val").rows() == [
        (0, False),
        (10, True),
        (1, False),
        (12, True),
    ]
    assert split.val["timestamp"].to_list() == [20, 25]
    pairs = ["user_id", "movie_id", "history_length"]
    assert split.test_targets.select(pairs).rows() == expected
    new_users = split.test_targets.filter("new_user")["user_id"].unique().to_list()
    assert new_users == [2]
    assert split.later["timestamp"].to_list() == [30, 40, 50, 30, 36, 37, 40]
    assert split.val_targets.select(pairs).rows() == [(1, 2, 2), (4, 3, 2)]
    assert split.inner_val_targets.select(pairs).rows() == [(1, 1, 1), (4, 2, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["first", "last", "all"])
def test_a_global_split_goes_through_the_whole_chain(targets: str, tmp_path: Path) -> None:
    """Users 1 to 5 come after the test cut, and are measured by all systems too."""
    ratings, movies = tiny_tables()
    later = pl.col("timestamp") + pl.when(pl.col("userId") <= 5).then(10**7).otherwise(0)
    tables = (ratings.with_columns(timestamp=later), movies)
    changes = {"method": "global", "targets": targets, "val_share": 0.15, "test_share": 0.15}
    run_chain(tmp_path, tables, **{f"time_split__{k}": v for k, v in changes.items()})
    data = tmp_path / "data"
    parts = {p: pl.read_parquet(data / "split" / f"{p}.parquet") for p in ("train", "val", "test")}
    assert parts["train"]["timestamp"].max() < parts["val"]["timestamp"].min()
    assert parts["val"]["timestamp"].max() < parts["test"]["timestamp"].min()
    test = parts["test"]
    assert set(test.filter("new_user")["source_user_id"]) == {1, 2, 3, 4, 5}
    assert test["user_id"].n_unique() == test.height
    histories = pl.read_parquet(data / "histories" / "test.parquet")
    positives = pl.read_parquet(data / "positives.parquet").sort("user_id", "timestamp", "row")
    by_user = dict(positives.group_by("user_id", maintain_order=True).agg("movie_id").rows())
    for row in test.join(histories, on="user_id").iter_rows(named=True):
        movies_of_user = by_user[row["source_user_id"]]
        position = movies_of_user.index(row["movie_id"])
        # Every positive before the target is known, those after the cut too, and nothing later.
        assert row["history"] == movies_of_user[max(position - LENGTH, 0) : position]
    for system in ("candidates/id", "candidates/ease", "recommendations/ranker_history"):
        lists = pl.read_parquet(data / system / "test.parquet")
        assert test["user_id"].is_in(lists["user_id"].implode()).all()
