"""A worker uses one thread, because the other workers use the other processors."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stages.parallel import process
from stages.parallel.executor import parallel_map
from tests.conftest import ROOT


def test_a_worker_uses_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_is_worker", False)
    assert not process.is_worker()
    assert process.thread_count() == len(os.sched_getaffinity(0))
    process.mark_as_worker()
    assert process.is_worker()
    assert process.thread_count() == 1
    threads = set(parallel_map(lambda _: threading.get_ident(), range(30)))
    assert threads == {threading.get_ident()}


def test_all_processors_count_where_a_process_has_none_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_is_worker", False)
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert process.thread_count() == 7


def test_the_module_imports_nothing() -> None:
    code = "import sys; before = set(sys.modules); import stages.parallel.process\n"
    code += "names = {'stages', 'stages.parallel', 'stages.parallel.process'}\n"
    code += "names |= {'stages.common', 'stages.common.instructions'}\n"
    code += "assert set(sys.modules) - before == names, set(sys.modules) - before"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def stat(*idle: int) -> str:
    """The text of /proc/stat after 100 ticks, of which each processor had so many idle."""
    lines = [f"cpu{n} {100 - ticks} 0 0 {ticks} 0 0 0 0 0 0" for n, ticks in enumerate(idle)]
    return "\n".join(["cpu  0 0 0 0 0 0 0 0 0 0", *lines, "intr 5 6 7", ""])


@pytest.mark.parametrize(
    ("idle", "threads"),
    [((100, 100, 0), 2), ((100, 0, 0), 1), ((60, 60, 100), 1), ((80, 90, 0), 2), ((0, 0, 100), 1)],
)
def test_threads_that_wait_for_each_other_use_idle_processors(
    idle: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "stat"
    path.write_text(stat(0, 0, 0).replace(" 100 ", " 0 "))
    monkeypatch.setattr(process, "_is_worker", False)
    monkeypatch.setattr(process, "STAT", str(path))
    monkeypatch.setattr(process.time, "sleep", lambda _: path.write_text(stat(*idle)))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})  # the third is not ours
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert process.openmp_threads() == threads


def test_the_environment_and_a_worker_decide_before_idle_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_is_worker", False)
    monkeypatch.setattr(process.time, "sleep", lambda _: pytest.fail("watched"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert process.openmp_threads() == 0
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(process, "STAT", "/nowhere")
    assert process.openmp_threads() == process.thread_count()
    process.mark_as_worker()
    assert process.openmp_threads() == 1
