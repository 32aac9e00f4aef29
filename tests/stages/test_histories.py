import shutil
from pathlib import Path

import polars as pl
import pytest

from stages import histories
from stages.common.tables import VALIDATION
from stages.data.snapshots import SNAPSHOTS, read_positives
from stages.histories import draw_users, last_histories, number_snapshots
from stages.time_split import leave_one_out, order
from tests.conftest import ROOT
from tests.small_tables import timed_positives


def test_histories_are_cut_before_the_target_oldest_first() -> None:
    rows = [(1, m, m) for m in range(6)] + [(2, m, m) for m in range(3)]
    train, val, test = leave_one_out(order(timed_positives(rows), "file", 0), 3, 2)
    table = last_histories(train, max_length=3)
    assert table["history"].to_list() == [[1, 2, 3], [0]]
    assert table["history_length"].to_list() == [4, 1]
    targets = pl.concat([val, test], how="diagonal").select("user_id", "movie_id")
    flat = table.explode("history", "timestamps").rename({"history": "movie_id"})
    assert flat.join(targets, on=["user_id", "movie_id"]).height == 0


def test_snapshots_know_each_users_positives_in_order() -> None:
    rows = [(1, m, m) for m in range(5)] + [(2, m, m) for m in range(3)]
    train, val, _ = leave_one_out(order(timed_positives(rows), "file", 0), 3, 2)
    table = number_snapshots(train, val)
    assert table["movie_id"].to_list() == [0, 1, 2, 3, 0, 1]
    assert table["snapshot"].to_list() == [0, 1, 1, 2, 0, 2]


def test_a_user_is_drawn_or_not_whoever_else_is_there() -> None:
    targets = pl.DataFrame({"user_id": range(100, 0, -1)}, schema={"user_id": pl.Int32})
    few, many = draw_users(targets, 10, 1), draw_users(targets, 40, 1)
    assert few.height == 10
    assert set(few["user_id"]) < set(many["user_id"])
    assert set(draw_users(targets.filter(pl.col("user_id") != 7), 99, 1)["user_id"]) == {
        user for user in range(1, 101) if user != 7
    }
    assert set(draw_users(targets, 10, 2)["user_id"]) != set(few["user_id"])
    assert draw_users(targets, 1000, 1).height == 100


def test_the_histories_of_every_snapshot_end_before_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    rows = [(u, m, m) for u in (1, 2) for m in range(9)]
    train, val, _ = leave_one_out(order(timed_positives(rows), "file", 0), 3, 3)
    train.write_parquet("train.parquet")
    val.select(VALIDATION.names()).write_parquet("val.parquet")
    folder, targets = Path("histories"), Path("targets")
    histories.main(Path("train.parquet"), Path("val.parquet"), folder, targets)
    # Of nine positives, the last is the test target, the one before it is the val target, and the
    # three before that are inner_val targets.
    for snapshot, length in {"inner_val": 4, "val": 7, "test": 8}.items():
        table = pl.read_parquet(folder / f"{snapshot}.parquet")
        assert table["history"].to_list() == [list(range(length))] * 2
        positives = read_positives(folder, snapshot)
        assert positives["movie_id"].to_list() == [*range(length)] * 2
    assert read_positives(folder).equals(read_positives(folder, SNAPSHOTS[-1]))
    target_rows = {
        path.stem: pl.read_parquet(path).sort("user_id", "movie_id").rows()
        for path in targets.iterdir()
    }
    assert target_rows == {
        "inner_val": [(u, m) for u in (1, 2) for m in (4, 5, 6)],
        "val": [(1, 7), (2, 7)],
    }
