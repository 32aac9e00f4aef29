import shutil
from pathlib import Path

import polars as pl
import pytest

from stages import histories
from stages.common.tables import QUERIES, SPLIT, TARGETS, TRAIN, write_table
from stages.data.queries import number_queries
from stages.data.snapshots import SNAPSHOTS, read_positives
from stages.histories import (
    build_histories,
    draw_queries,
    number_snapshots,
    with_users_without_targets,
)
from stages.time_split import Split, leave_one_out, order
from tests.conftest import ROOT
from tests.small_tables import timed_positives
from tests.tiny_chain import LENGTH


def queries(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """QUERIES of user_id, source_user_id and history_length."""
    return pl.DataFrame(rows, schema=QUERIES, orient="row")


def split_last(rows: list[tuple[int, int, int]], inner_val_targets: int) -> Split:
    return leave_one_out(order(timed_positives(rows), "file", 0), 3, inner_val_targets)


def test_a_history_ends_before_its_query_and_keeps_the_newest_oldest_first() -> None:
    rows = [(1, m, 10 * m) for m in range(6)] + [(2, m, m) for m in range(7, 9)]
    positives = order(timed_positives(rows), "file", 0)
    table = build_histories(queries([(9, 1, 5), (1, 1, 2), (2, 2, 1)]), positives, max_length=3)
    assert table["user_id"].to_list() == [1, 2, 9]
    assert table["history"].to_list() == [[0, 1], [7], [2, 3, 4]]
    assert table["timestamps"].to_list() == [[0, 10], [7], [20, 30, 40]]
    assert table["history_length"].to_list() == [2, 1, 5]


def test_users_without_a_target_are_asked_for_after_all_their_positives() -> None:
    positives = order(timed_positives([(1, 5, 1), (2, 5, 1), (2, 6, 2)]), "file", 0)
    table = with_users_without_targets(queries([(1, 1, 1), (8, 1, 2)]), positives)
    assert table.rows() == [(1, 1, 1), (8, 1, 2), (2, 2, 2)]


def test_snapshots_know_each_users_positives_in_order() -> None:
    split = split_last([(1, m, m) for m in range(5)] + [(2, m, m) for m in range(3)], 2)
    later = order(timed_positives([(1, m, m) for m in range(9)]), "file", 0)[4:5]
    table = number_snapshots(split.train, split.val, later)
    assert table["movie_id"].to_list() == [0, 1, 2, 3, 4, 0, 1]
    # Row 4 of user 1 is known to the snapshot `serve` alone.
    assert table["snapshot"].to_list() == [0, 1, 1, 2, 3, 0, 2]


def test_a_query_is_drawn_or_not_whoever_else_is_there() -> None:
    targets = pl.DataFrame({"user_id": range(100, 0, -1)}, schema={"user_id": pl.Int32})
    few, many = draw_queries(targets, 10, 1), draw_queries(targets, 40, 1)
    assert few.height == 10
    assert set(few["user_id"]) < set(many["user_id"])
    assert set(draw_queries(targets.filter(pl.col("user_id") != 7), 99, 1)["user_id"]) == {
        user for user in range(1, 101) if user != 7
    }
    assert set(draw_queries(targets, 10, 2)["user_id"]) != set(few["user_id"])
    assert draw_queries(targets, 1000, 1).height == 100


def test_the_histories_of_every_snapshot_end_before_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    split = split_last([(u, m, m) for u in (1, 2) for m in range(9)], 3)
    write_table(split.train, Path("train.parquet"), TRAIN)
    for name in ("val", "later"):
        write_table(getattr(split, name), Path(f"{name}.parquet"), SPLIT)
    folder, targets = Path("histories"), Path("targets")
    for name in ("inner_val", "val"):
        rows = number_queries(getattr(split, f"{name}_targets"), 100)
        write_table(rows, targets / f"{name}.parquet", TARGETS)
    test = number_queries(split.test_targets, 100)
    write_table(test, Path("queries.parquet"), QUERIES)
    paths = {name: Path(f"{name}.parquet") for name in ("train", "val", "later", "queries")}
    histories.main(**paths, targets=targets, histories=folder)
    # Of nine positives, the last is the test target, the one before it is the val target, and the
    # three before that are inner_val targets. `serve` knows all.
    for snapshot, length in {"inner_val": 4, "val": 7, "test": 8, "serve": 9}.items():
        table = pl.read_parquet(folder / f"{snapshot}.parquet")
        assert table["history"].to_list() == [list(range(length))] * 2
        positives = read_positives(folder, snapshot)
        assert positives["movie_id"].to_list() == [*range(length)] * 2
    assert read_positives(folder).equals(read_positives(folder, SNAPSHOTS[-1]))


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_the_histories_of_the_tiny_run_are_the_newest_positives(
    snapshot: str, tiny_run: Path
) -> None:
    folder = tiny_run / "data" / "histories"
    table = pl.read_parquet(folder / f"{snapshot}.parquet")
    positives = read_positives(folder, snapshot).group_by("user_id").agg("movie_id")
    by_user = dict(positives.rows())
    for user, length, history in table.select("user_id", "history_length", "history").rows():
        assert len(by_user[user]) == length
        assert history == by_user[user][-LENGTH:]
    assert table["history_length"].max() > LENGTH  # some histories are cut
