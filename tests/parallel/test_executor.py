"""Local work runs in threads: in order, with its errors, and without an import of Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages.parallel.executor import parallel_map
from tests.conftest import ROOT


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


def test_a_local_backend_imports_no_ray(workspace: Path) -> None:
    code = """
import sys
from stages import candidates, fit_generator, fusion, movie_popularity, positives
from stages.parallel import executor
assert executor.backend() == "local"
list(executor.parallel_map(str, range(9)))
executor.map_user_shards("x", lambda: ())
executor.map_by_user("x", lambda: ())
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
