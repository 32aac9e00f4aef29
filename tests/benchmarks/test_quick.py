"""The table of `make bench-quick`."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.quick import (
    REFERENCE,
    STAGES,
    Cost,
    least,
    measure,
    ratios,
    read_baseline,
    table,
)
from benchmarks.steps import AFTER_VECTORS, select_steps, steps
from stages.common.files import write_json
from tests.conftest import ROOT

COSTS = {REFERENCE: Cost(2.0, 3.0), "clean": Cost(4.0, 6.0), "fusion": Cost(5.0, 5.0)}


def test_the_least_seconds_of_all_rounds_count() -> None:
    rounds = [{"clean": Cost(4.0, 6.0)}, {"clean": Cost(3.0, 7.0)}]
    assert least(rounds) == {"clean": Cost(3.0, 6.0)}


def test_ratios_are_relative_to_the_speed_of_the_machine() -> None:
    # The machine takes twice as long as it did, so 4 s instead of 2 s are no change.
    baseline = {REFERENCE: 1.0, "clean": 2.0, "fusion": 1.0}
    assert ratios(COSTS, baseline) == {REFERENCE: 2.0, "clean": 1.0, "fusion": 2.5}
    assert ratios(COSTS, {REFERENCE: 2.0, "fusion": 5.0}) == {REFERENCE: 1.0, "fusion": 1.0}


def test_the_table_marks_slower_steps_only() -> None:
    lines = table(COSTS, {REFERENCE: 1.0, "fusion": 1.0})
    assert lines[2] == "| fixed work | 3.00 | 2.00 | 1.00 | 2.00 |  |"
    assert lines[3] == "| clean | 6.00 | 4.00 |  |  |  |"
    assert lines[4] == "| fusion | 5.00 | 5.00 | 1.00 | 2.50 | slower |"
    assert table(COSTS, {})[4] == "| fusion | 5.00 | 5.00 |  |  |  |"
    assert table(COSTS, {REFERENCE: 2.0, "fusion": 4.6})[4].endswith("| 1.09 |  |")


def test_a_baseline_counts_for_its_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "baseline.json"
    assert read_baseline(path, "A") == {}
    write_json({"machine": "A", "commit": "1a2b", "cpu": {"clean": 2.0}}, path)
    assert read_baseline(path, "A") == {"clean": 2.0}
    assert "1a2b" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"baseline.json: is of A; delete it, or run with"):
        read_baseline(path, "B")
    path.write_text("{")
    with pytest.raises(SystemExit, match=r"baseline.json: cannot be read; delete it"):
        read_baseline(path, "A")


def test_the_seconds_are_those_of_other_processes_too() -> None:
    code = "import time\nwhile time.process_time() < .3: pass"
    assert measure(subprocess.run, [sys.executable, "-c", code]).cpu >= 0.25
    assert measure(subprocess.run, ["sleep", "0.2"]).wall >= 0.2


def test_the_measured_and_the_drawn_stages_exist() -> None:
    all_steps = steps(ROOT)
    for names in (STAGES, AFTER_VECTORS):
        assert [step.name for step in select_steps(names, all_steps)] == list(names)
