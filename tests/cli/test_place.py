import math
import os
import shutil
import sys
from pathlib import Path

import pytest

from stages.cli.place import (
    SECONDS,
    describe_place,
    format_duration,
    process_seconds,
    read_seconds,
    read_stage_names,
    seconds_folder,
    stage_names,
    write_seconds,
)
from stages.common.params import YAML, read_all
from stages.common.stage import StageError, run_stage
from tests.conftest import ROOT

PIPELINE = """# A comment.
stages:
  first:
    desc: One.
    cmd: a
  second:
    foreach: ${blocks}
    do:
      cmd: b
  third:
    cmd: c

artifacts:
  first:
    path: d
"""


def test_the_stages_are_those_of_dvc_yaml_in_its_order() -> None:
    names = stage_names(PIPELINE, {"blocks": {"x": {}, "y": None}})
    assert names == ["first", "second@x", "second@y", "third"]


def test_the_line_has_number_last_time_and_the_most_that_is_left() -> None:
    names, seconds = ["a", "b@x", "c"], {"a": 50.0, "b@x": 86.4, "c": 100.0}
    assert describe_place("b@x", names, seconds) == (
        "stage 2 of 3: b@x, last time 86 s; at most 3 min left"
    )


def test_the_line_says_how_many_times_are_unknown() -> None:
    assert describe_place("a", ["a", "b", "c"], {"c": 7.0}) == (
        "stage 1 of 3: a; at most 7.0 s left, not counting 2 of unknown time"
    )
    assert describe_place("c", ["a", "b", "c"], {"a": 7.0}) == "stage 3 of 3: c"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0.2 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (5900, "98 min"),
        (9000, "2.5 h"),
    ],
)
def test_a_duration_has_a_fitting_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "12 s", "\0", "é"])
def test_damaged_and_missing_seconds_are_left_out(tmp_path: Path, text: str) -> None:
    write_seconds(tmp_path / "seconds", "b@x", 12.34)
    (tmp_path / "seconds" / "a").write_text(text)
    assert read_seconds(tmp_path / "seconds", ["a", "b@x", "c"]) == {"b@x": 12.3}
    assert sorted(path.name for path in (tmp_path / "seconds").iterdir()) == ["a", "b@x"]


def test_seconds_that_cannot_be_written_harm_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    write_seconds(tmp_path / "file", "a", 1.0)
    assert (tmp_path / "file").read_text() == ""


def test_an_experiment_in_a_copy_shares_the_seconds(tmp_path: Path) -> None:
    assert seconds_folder(tmp_path) is None
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    (copy / ".dvc").mkdir(parents=True)
    assert seconds_folder(tmp_path) == seconds_folder(copy) == tmp_path / SECONDS


def test_the_seconds_of_a_process_are_its_age() -> None:
    assert 0 < process_seconds() < math.inf
    # At least the time that this process has computed.
    assert process_seconds() > sum(os.times()[:2]) / os.cpu_count() / 2


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a pipeline of which DVC runs the stage `clean`."""
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages/clean.py"])
    monkeypatch.setattr("stages.common.stage._exit_with_dvc", lambda: None)
    monkeypatch.setenv("DVC_STAGE", "clean")
    return tmp_path


def summary() -> str:
    return "summary"


def test_a_stage_prints_its_place_and_next_time_its_seconds(
    pipeline: Path, capsys: pytest.CaptureFixture
) -> None:
    for _ in range(2):
        run_stage(summary)
    first, _, second, _ = capsys.readouterr().err.splitlines()
    count = len(read_stage_names())
    assert first == f"stage 3 of {count}: clean"
    assert second.startswith(f"stage 3 of {count}: clean, last time ")
    assert [path.name for path in (pipeline / SECONDS).iterdir()] == ["clean"]


def test_a_stage_that_fails_stores_no_seconds(pipeline: Path) -> None:
    def fail() -> str:
        raise StageError("a: is bad; mend it")

    with pytest.raises(SystemExit):
        run_stage(fail)
    assert not (pipeline / SECONDS).exists()


@pytest.mark.parametrize("stage", [None, "", "clean@x"])
def test_without_dvc_or_with_another_stage_there_is_no_place(
    pipeline: Path,
    stage: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    if stage is None:
        monkeypatch.delenv("DVC_STAGE")
    else:
        monkeypatch.setenv("DVC_STAGE", stage)
    run_stage(summary)
    assert capsys.readouterr().err.startswith("clean: summary, ")
    assert not (pipeline / SECONDS / "clean").exists()


@pytest.mark.parametrize("block", ["../x", "a\n", "\x1b[2J", "é", ""])
def test_a_block_of_another_name_is_neither_printed_nor_a_file(
    pipeline: Path, block: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    params = read_all()
    params["rankers"][block] = params["rankers"]["hit"]
    YAML(typ="safe", pure=True).dump(params, pipeline / "params.yaml")
    monkeypatch.setenv("DVC_STAGE", f"rerank@{block}")
    assert f"rerank@{block}" in read_stage_names()
    run_stage(summary)
    assert capsys.readouterr().err.startswith("clean: summary, ")
    assert not (pipeline / SECONDS).exists()
    (pipeline / "seconds").mkdir()
    (pipeline / "x").write_text("7")
    assert read_seconds(pipeline / "seconds", [f"rerank@{block}", "../x"]) == {}


@pytest.mark.parametrize("text", ["", "a: [", "generators: 3\n", "{}"])
def test_damaged_params_are_left_to_the_stage(
    pipeline: Path, text: str, capsys: pytest.CaptureFixture
) -> None:
    (pipeline / "params.yaml").write_text(text)
    run_stage(summary)
    assert capsys.readouterr().err.startswith("clean: summary, ")
