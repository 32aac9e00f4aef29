from pathlib import Path

import polars as pl
import pytest

from stages.common import tables
from stages.common.files import read_arrays
from stages.common.stage import StageError
from stages.common.tables import POSITIVES, read_table, user_ranges, write_table


def test_tables_keep_their_schema(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pl.DataFrame({"row": [1], "timestamp": [5], "movie_id": [2], "user_id": [3]})
    write_table(table, path, POSITIVES)
    assert read_table(path, POSITIVES).row(0) == (3, 2, 5, 1)
    table.write_parquet(path)
    with pytest.raises(StageError, match=r"t.parquet: has columns"):
        read_table(path, POSITIVES)


def test_the_ranges_of_the_users_cover_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "READ_BATCH_USERS", 2)
    assert user_ranges(pl.Series([3, 5, 8, 9, 11])) == [(3, 5), (8, 9), (11, 11)]
    assert user_ranges(pl.Series([3, 5])) == [(3, 5)]
    assert user_ranges(pl.Series([], dtype=pl.Int32)) == []


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"none.parquet: not found; run `dvc repro`"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_text("PAR?")
    with pytest.raises(StageError, match=r"bad.parquet: cannot be read"):
        read_table(tmp_path / "bad.parquet")
    (tmp_path / "bad.npz").write_bytes(b"x")
    with pytest.raises(StageError, match=r"bad.npz: cannot be read"):
        read_arrays(tmp_path / "bad.npz")
