"""Which rows a snapshot knows, and that the tables which it reads have the columns of theirs."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.common.tables import HISTORIES, KNOWN_POSITIVES, LOW_RATINGS, SEEN, write_table
from stages.data.snapshots import (
    RANKER_SNAPSHOTS,
    SERVE_SNAPSHOT,
    SNAPSHOTS,
    TARGET_SNAPSHOTS,
    TEST_SNAPSHOT,
    known_low_ratings,
    read_histories,
    read_low_ratings,
    read_positives,
    read_seen,
)

POSITIVES = [(1, 5, 10, 0), (1, 6, 20, 3), (2, 5, 10, 2), (2, 7, 30, 1)]


@pytest.fixture
def positives() -> pl.DataFrame:
    return pl.DataFrame(POSITIVES, schema=KNOWN_POSITIVES, orient="row")


def test_the_rankers_learn_from_the_targets_before_those_of_the_test() -> None:
    assert (*RANKER_SNAPSHOTS, TEST_SNAPSHOT) == TARGET_SNAPSHOTS == ("inner_val", "val", "test")
    assert (*TARGET_SNAPSHOTS, SERVE_SNAPSHOT) == SNAPSHOTS


@pytest.mark.parametrize(
    ("snapshot", "rows"),
    [("inner_val", [0]), ("val", [0, 3]), ("test", [0, 2, 3]), ("serve", [0, 1, 2, 3])],
)
def test_a_snapshot_knows_its_positives_and_those_of_earlier_ones(
    snapshot: str, rows: list[int], positives: pl.DataFrame, tmp_path: Path
) -> None:
    write_table(positives, tmp_path / "positives.parquet", KNOWN_POSITIVES)
    assert read_positives(tmp_path, snapshot).equals(positives[rows])
    assert read_positives(tmp_path).equals(positives)


def test_a_low_rating_of_a_movie_that_is_a_positive_of_another_user_stays(
    positives: pl.DataFrame,
) -> None:
    pairs = [(2, 9, 0), (1, 9, 0), (1, 5, 0), (1, 7, 0), (2, 6, 2), (1, 8, 1)]
    rows = [(user, movie, 100, snapshot) for user, movie, snapshot in pairs]
    low = pl.DataFrame(rows, schema=LOW_RATINGS, orient="row")
    known = known_low_ratings(low, positives, "val")
    assert known.drop("timestamp").rows() == [(2, 9, 0), (1, 9, 0), (1, 7, 0), (1, 8, 1)]


@pytest.mark.parametrize(
    ("read", "name", "schema"),
    [
        (read_positives, "positives", KNOWN_POSITIVES),
        (read_low_ratings, "low_ratings", LOW_RATINGS),
        (lambda folder: read_histories(folder, "val"), "val", HISTORIES),
        (lambda folder: read_seen(folder, "val"), "val", SEEN),
    ],
)
def test_a_table_with_other_columns_is_refused(
    read: Callable[[Path], pl.DataFrame], name: str, schema: pl.Schema, tmp_path: Path
) -> None:
    path = tmp_path / f"{name}.parquet"
    write_table(pl.DataFrame(schema=schema), path, schema)
    assert read(tmp_path).schema == schema
    pl.DataFrame({"user_id": [1]}).write_parquet(path)
    with pytest.raises(StageError, match=rf"^{path}: has columns "):
        read(tmp_path)
