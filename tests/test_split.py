import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import histories
from stages.common.tables import POSITIVES, RATINGS, SPLIT, VALIDATION
from stages.dislikes import known_dislikes
from stages.folds import FOLDS
from stages.hashing import mix
from stages.histories import draw_users, last_histories, train_histories
from stages.positives import keep_positives, sample
from stages.time_split import global_split, leave_one_out, order
from tests.conftest import ROOT
from tests.tiny_chain import run_chain


def positives(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """(user, movie, time) rows in file order."""
    table = pl.DataFrame(rows, schema=["user_id", "movie_id", "timestamp"], orient="row")
    return table.with_row_index("row").select(pl.col(n).cast(k) for n, k in POSITIVES.items())


def test_a_rating_equal_to_the_threshold_is_a_liking() -> None:
    rows = [(1, 1, 4.0, 5, 0), (1, 2, 3.5, 6, 1)]
    ratings = pl.DataFrame(rows, schema=RATINGS, orient="row")
    assert keep_positives(ratings, 4.0)["movie_id"].to_list() == [1]


def test_the_latest_rating_of_a_movie_counts() -> None:
    rows = [(1, 1, 5.0, 9, 0), (1, 1, 2.0, 10, 1), (1, 2, 1.0, 3, 2), (1, 2, 5.0, 3, 3)]
    ratings = pl.DataFrame(rows, schema=RATINGS, orient="row")
    # Movie 1 was disliked later; movie 2 was rated twice in a second, the last row counts.
    assert keep_positives(ratings, 4.0)["movie_id"].to_list() == [2]


def test_a_sample_keeps_whole_users_whatever_the_order_of_rows() -> None:
    table = positives([(user, movie, movie) for user in range(2000) for movie in range(3)])
    some = sample(table, 0.1, 42)
    assert 150 < some["user_id"].n_unique() < 250
    assert some.group_by("user_id").len()["len"].unique().to_list() == [3]
    backwards = sample(table.reverse(), 0.1, 42)
    assert backwards.reverse().equals(some)
    assert set(some["user_id"]) < set(sample(table, 0.3, 42)["user_id"])
    assert set(some["user_id"]) != set(sample(table, 0.1, 43)["user_id"])
    assert sample(table, 1.0, 42).equals(table)


def test_ties_are_in_file_order_or_hashed_whatever_the_file_order() -> None:
    rows = [(1, movie, 5) for movie in (30, 10, 20, 40)]
    assert order(positives(rows), "file", 0)["movie_id"].to_list() == [30, 10, 20, 40]
    hashed = [order(positives(r), "hash", 3)["movie_id"].to_list() for r in (rows, rows[::-1])]
    assert hashed[0] == hashed[1]
    seeds = {tuple(order(positives(rows), "hash", s)["movie_id"]) for s in range(10)}
    assert len(seeds) > 3


def test_mix_spreads_evenly() -> None:
    values = mix(np.ones(10_000, dtype=np.int32), np.arange(10_000, dtype=np.int32), 42)
    counts = np.bincount((values % np.uint64(8)).astype(int), minlength=8)
    assert counts.min() > 1100
    assert len(np.unique(values)) == 10_000


def test_leave_one_out_holds_out_the_last_two() -> None:
    rows = [(1, m, m) for m in range(5)] + [(2, 1, 1), (2, 2, 2)]
    train, val, test = leave_one_out(order(positives(rows), "file", 0), 3, 2)
    assert test.select("user_id", "movie_id").rows() == [(1, 4)]
    assert val.select("user_id", "movie_id", "is_target").rows() == [(1, 3, True)]
    assert train.select("user_id", "movie_id").rows() == [(1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert train["early"].to_list() == [False, True, True, False, False]
    assert test["history_length"].to_list() == [4]


@pytest.mark.parametrize(("times", "tied"), [((1, 2, 2), True), ((1, 1, 2), False)])
def test_tied_means_the_last_two_have_one_time(times: tuple, tied: bool) -> None:
    rows = [(1, movie, time) for movie, time in enumerate(times)]
    _, _, test = leave_one_out(order(positives(rows), "file", 0), 3, 2)
    assert test["tied"].to_list() == [tied]


@pytest.mark.parametrize(
    ("targets", "expected"), [("first", [3]), ("last", [5]), ("all", [3, 4, 5])]
)
def test_global_split_cuts_at_one_time(targets: str, expected: list[int]) -> None:
    rows = [(1, m, m * 10) for m in range(6)] + [(2, 7, 35)]
    train, val, test = global_split(order(positives(rows), "file", 0), 10, 20, 30, targets)
    assert train.select("timestamp", "early").rows() == [(0, False), (10, True)]
    assert val["timestamp"].to_list() == [20]
    # User 2 is new after the cut: nothing is known of them, so they are not measured.
    assert test["user_id"].unique().to_list() == [1]
    assert test["movie_id"].to_list() == expected


def test_histories_are_cut_before_the_target_oldest_first() -> None:
    rows = [(1, m, m) for m in range(6)] + [(2, m, m) for m in range(3)]
    train, val, test = leave_one_out(order(positives(rows), "file", 0), 3, 2)
    before = last_histories(train, max_length=3)
    assert before["history"].to_list() == [[1, 2, 3], [0]]
    assert before["history_length"].to_list() == [4, 1]
    held = pl.concat([val, test], how="diagonal").select("user_id", "movie_id")
    flat = before.explode("history", "timestamps").rename({"history": "movie_id"})
    assert flat.join(held, on=["user_id", "movie_id"]).height == 0


def test_dislikes_are_known_before_the_newest_liking_and_are_no_targets() -> None:
    times = {1: [(5, 3.0, 10), (6, 2.0, 20), (7, 1.0, 30), (5, 2.5, 12)], 2: [(8, 1.0, 5)]}
    rows = [(u, m, s, t, i) for u, given in times.items() for i, (m, s, t) in enumerate(given)]
    rows += [(1, 7, 5.0, 40, 9)]  # what becomes a liking later was a dislike before
    ratings = pl.DataFrame(rows, schema=RATINGS, orient="row")
    likings = pl.DataFrame([(1, 1, 20, 0), (1, 2, 31, 1)], schema=SPLIT, orient="row")
    known = known_dislikes(ratings, likings, 4.0)
    assert known.rows() == [(1, 5, 2.5), (1, 6, 2.0), (1, 7, 1.0)]
    assert known_dislikes(ratings, likings[:1], 4.0).rows() == [(1, 5, 2.5)]


def test_train_histories_follow_each_user_in_order() -> None:
    rows = [(1, m, m) for m in range(5)] + [(2, m, m) for m in range(3)]
    train, val, _ = leave_one_out(order(positives(rows), "file", 0), 3, 2)
    table = train_histories(train, val)
    assert table["movie_id"].to_list() == [0, 1, 2, 3, 0, 1]
    assert table["fold"].to_list() == [0, 1, 1, 2, 0, 2]


def test_users_to_learn_from_are_drawn_whoever_else_is_there() -> None:
    targets = pl.DataFrame({"user_id": range(100, 0, -1)}, schema={"user_id": pl.Int32})
    few, many = draw_users(targets, 10, 1), draw_users(targets, 40, 1)
    assert few.height == 10
    assert set(few["user_id"]) < set(many["user_id"])
    assert set(draw_users(targets.filter(pl.col("user_id") != 7), 99, 1)["user_id"]) == {
        user for user in range(1, 101) if user != 7
    }
    assert set(draw_users(targets, 10, 2)["user_id"]) != set(few["user_id"])
    assert draw_users(targets, 1000, 1).height == 100


def test_the_histories_of_every_fold_end_before_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    rows = [(u, m, m) for u in (1, 2) for m in range(9)]
    train, val, _ = leave_one_out(order(positives(rows), "file", 0), 3, 3)
    files = tmp_path / "train.parquet", tmp_path / "val.parquet"
    train.write_parquet(files[0])
    val.select(VALIDATION.names()).write_parquet(files[1])
    histories.main(*files, tmp_path)
    found = {fold: pl.read_parquet(tmp_path / f"{fold}.parquet") for fold in FOLDS}
    # Of nine likings the last is the test target, the one before the validation target, and the
    # three before that are early.
    for fold, length in {"early": 4, "val": 7, "test": 8}.items():
        assert found[fold]["history"].to_list() == [list(range(length))] * 2


def test_the_global_time_split_goes_through_the_whole_chain(tmp_path: Path) -> None:
    changes = {"method": "global", "targets": "all", "val_share": 0.15, "test_share": 0.15}
    run_chain(tmp_path, **{f"time_split__{k}": v for k, v in changes.items()})
    parts = tmp_path / "data" / "split"
    train, val, test = (pl.read_parquet(parts / f"{p}.parquet") for p in ("train", "val", "test"))
    assert train["timestamp"].max() < val["timestamp"].min()
    assert val["timestamp"].max() < test["timestamp"].min()
    lists = tmp_path / "data" / "recommendations" / "ranker_history" / "test.parquet"
    everyone = pl.read_parquet(lists)["user_id"].unique().implode()
    assert test["user_id"].is_in(everyone).all()
