"""Every option of every program says what it is."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from stages.cli.option_help import OPTIONS, option_help
from stages.common.params import YAML
from stages.common.stage import stage_parser
from tests.conftest import ROOT

STAGES = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
PROGRAMS = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ("benchmarks", "stages")
    for path in (ROOT / room).rglob("*.py")
    if "add_argument(" in path.read_text() and path.name != "stage.py"
)


def stage_options() -> list[tuple[str, str]]:
    """Stage and option of every command of dvc.yaml; a stage requires all that it has."""
    return [
        (stage, option.replace("-", "_"))
        for stage, block in STAGES.items()
        for option in re.findall(r" --([a-z-]+)", block.get("do", block)["cmd"])
    ]


def options_without_help(source: str) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"
        if not [k for k in call.keywords if k.arg == "help" and ast.unparse(k.value) != "''"]
    ]


def test_every_option_of_a_stage_has_a_help() -> None:
    assert len(stage_options()) > 100
    assert [pair for pair in stage_options() if not option_help(*pair)] == []


def test_no_help_is_of_an_option_that_no_stage_has() -> None:
    used = {f"{s}.{o}" if f"{s}.{o}" in OPTIONS else o for s, o in stage_options()}
    assert set(OPTIONS) - used == set()


@pytest.mark.parametrize("path", PROGRAMS)
def test_every_option_of_another_program_has_a_help(path: str) -> None:
    assert options_without_help((ROOT / path).read_text()) == []


def test_an_option_without_help_is_noticed() -> None:
    source = "parser.add_argument('--a', help='')\nparser.add_argument('--b', type=int)"
    assert len(options_without_help(source)) == 2


def test_the_help_of_a_stage_describes_its_block_and_its_options(
    capsys: pytest.CaptureFixture,
) -> None:
    def main(name: str, metrics: Path) -> str:
        """Measure."""
        raise AssertionError

    parser = stage_parser(main, "evaluate")
    assert isinstance(parser, argparse.ArgumentParser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: python -m stages.evaluate ")
    assert "name a block of params.yaml" in text
    assert f"--metrics PATH {OPTIONS['evaluate.metrics']}" in text
