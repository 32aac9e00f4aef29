"""A worker uses one thread, because the other workers use the other processors."""

import os
import subprocess
import sys
import threading

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
