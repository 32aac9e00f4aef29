"""Local work runs in threads: in order, with its errors, and without an import of Ray."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from stages.parallel import executor
from stages.parallel.executor import map_by_user, map_user_shards, parallel_map
from tests.conftest import ROOT
from tests.parallel.runs import METHODS, check_equal, run_user_stages, write_inputs


def test_results_are_in_order_and_errors_are_raised() -> None:
    assert list(parallel_map(lambda x: x * x, range(50))) == [x * x for x in range(50)]
    assert list(parallel_map(str, [])) == []
    with pytest.raises(ZeroDivisionError):
        list(parallel_map(lambda x: 1 / x, [1, 0]))


def test_items_are_read_before_they_are_mapped() -> None:
    results = parallel_map(lambda text: text + "!", range(20), read=str)
    assert list(results) == [f"{n}!" for n in range(20)]
    results = parallel_map(str, [1, 2], read=lambda n: -n, uses_all_cores=True)
    assert list(results) == ["-1", "-2"]


@pytest.mark.parametrize("method", METHODS)
def test_ranges_of_users_give_the_same_as_whole_tables(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_user_stages(write_inputs(tmp_path / "whole", **METHODS[method]))
    monkeypatch.setattr(executor, "MAX_ROWS", 700)
    run_user_stages(write_inputs(tmp_path / "ranges", **METHODS[method]))
    check_equal(tmp_path / "ranges", tmp_path / "whole")


def test_ranges_bound_the_rows_and_keep_every_user(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(executor, "MAX_ROWS", 40)
    largest = 2**31 - 1
    users = [2, 3, 4, 1_000_000, largest] * 30  # the ids are far from evenly spread
    big = pl.DataFrame({"user_id": users}, schema={"user_id": pl.Int32}).with_row_index("row")
    # The user with the lowest id is in the smaller table alone.
    small = pl.DataFrame({"user_id": [-5, 2, 3]}, schema={"user_id": pl.Int32})
    shards = map_user_shards("x", lambda *tables: tables, big, small)
    assert [shard[0].height for shard in shards] == [30] * 3 + [60]
    assert pl.concat(shard[1] for shard in shards)["user_id"].to_list() == [-5, 2, 3]
    by_user = map_by_user("x", lambda *tables: (tables[0].sort("user_id"),), big, small)
    assert by_user[0].equals(big.sort("user_id", maintain_order=True))


def test_a_local_backend_imports_no_ray(workspace: Path) -> None:
    code = """
import sys
import polars as pl
from stages import candidates, fit_generator, fusion, movie_popularity, positives
from stages.parallel import executor
assert executor.backend() == "local"
list(executor.parallel_map(str, range(9)))
executor.map_user_shards("x", lambda table: (table,), pl.DataFrame({"user_id": [1]}))
executor.map_by_user("x", lambda table: (table,), pl.DataFrame({"user_id": [1]}))
modules = {name for name in sys.modules if name.split(".")[0] == "ray" or "ray_backend" in name}
assert not modules, modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workspace, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_local_training_imports_no_ray() -> None:
    code = "import stages.train_retrieval, stages.train_ranker, sys\n"
    code += "assert 'ray' not in sys.modules\n"
    code += "assert not [name for name in sys.modules if 'ray_backend' in name]"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
