import dataclasses
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.common.instructions import NATIVE
from stages.common.stage import StageError, run_stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    movies: Path
    importance_table: Path


def run(main, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["stages/toy.py", *arguments])
    run_stage(main)


def test_a_text_is_positional_a_path_an_option_a_dataclass_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    calls = []

    def main(name: str, sources: Sources, model: Path) -> str:
        calls.append((name, sources, model))
        return "summary"

    options = [
        "--importance-table",
        "metrics/i.csv",
        "--model",
        "data/m",
        "--movies",
        "data/movies",
    ]
    run(main, monkeypatch, "basic", *options)
    sources = Sources(movies=Path("data/movies"), importance_table=Path("metrics/i.csv"))
    assert calls == [("basic", sources, Path("data/m"))]
    assert capsys.readouterr().err.startswith("toy@basic: summary, ")


@pytest.mark.parametrize("argument", ["basic", "rerank@basic"])
def test_a_block_may_be_named_as_dvc_names_its_stage(
    argument: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    names = []

    def main(name: str) -> str:
        names.append(name)
        return "summary"

    run(main, monkeypatch, argument)
    assert names == ["basic"]
    assert capsys.readouterr().err.startswith("toy@basic: summary, ")


@pytest.mark.parametrize(
    "name",
    ["", " ", "-rf", "a b", "a\n", "a@b", "../a", "a.b", "a;b", "$(a)", "`a`", "a'", "é", "1"],
)
def test_a_block_of_another_name_is_refused_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def main(name: str) -> str:
        raise AssertionError

    with pytest.raises(SystemExit) as end:
        run(main, monkeypatch, f"rerank@{name}")
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {f'rerank@{name}'!r}: is no name of a block; use letters, ")
    assert error.count("\n") == 1


def test_a_missing_option_of_a_dataclass_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def main(sources: Sources) -> str:
        raise AssertionError

    with pytest.raises(SystemExit) as end:
        run(main, monkeypatch, "--movies", "data/movies")
    assert end.value.code == 2
    assert "--importance-table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StageError("a.csv: is empty; put the data in"), "error: a.csv: is empty; put the data in"),
        (MemoryError("32 GiB"), "error: memory: 32 GiB; see `positives.sample_users`"),
    ],
)
def test_an_error_that_a_user_can_mend_is_one_line(
    error: Exception,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def main() -> str:
        raise error

    with pytest.raises(SystemExit) as end:
        run(main, monkeypatch)
    assert end.value.code == 1
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize(
    ("machine", "variable", "note"),
    [
        ("x86_64", "0", ""),
        ("x86_64", "1", f"{NATIVE} is set: outputs may differ from those of other processors\n"),
        ("arm64", "0", "arm64: outputs may differ from those of x86_64 processors\n"),
    ],
)
def test_a_stage_says_that_its_instructions_are_not_pinned(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    machine: str,
    variable: str,
    note: str,
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    monkeypatch.setenv(NATIVE, variable)
    run(lambda: "summary", monkeypatch)
    assert capsys.readouterr().err.partition(" s\n")[2] == note
