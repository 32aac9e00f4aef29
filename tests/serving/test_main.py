"""The dispatch of `python -m stages.serving`."""

from pathlib import Path

import pytest

from stages.serving.__main__ import USAGE
from tests.serving.commands import run_command


@pytest.mark.parametrize("arguments", [[], ["predict"], ["--user", "42"], ["recommend.x"]])
def test_a_wrong_command_gets_the_usage_in_one_line(tmp_path: Path, arguments: list[str]) -> None:
    result = run_command(tmp_path, *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", USAGE)
    assert USAGE.count("\n") == 1


def test_help_is_no_error(tmp_path: Path) -> None:
    for option in ("-h", "--help"):
        result = run_command(tmp_path, option)
        assert (result.returncode, result.stdout, result.stderr) == (0, USAGE, "")


@pytest.mark.parametrize("option", ["--help", "--no-such-option"])
@pytest.mark.parametrize("command", ["recommend", "demo", "serve"])
def test_both_forms_of_a_command_are_equal(tmp_path: Path, command: str, option: str) -> None:
    short = run_command(tmp_path, command, option)
    long = run_command(tmp_path, option, module=f"stages.serving.{command}")
    assert short.returncode == long.returncode == (0 if option == "--help" else 2)
    assert (short.stdout, short.stderr) == (long.stdout, long.stderr)
    assert f"python -m stages.serving {command} " in short.stdout + short.stderr
    if option != "--help":
        assert short.stderr.count("\n") == 1
