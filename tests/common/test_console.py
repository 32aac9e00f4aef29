import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PRELUDE = "import sys\nfrom stages.common.console import standard_output\n"


def run_code(code: str, stdout: int, **variables: str) -> subprocess.CompletedProcess:
    environment = {"PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", PRELUDE + code]
    return subprocess.run(
        command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("code", ["print(1)", "print('x' * 100_000)", "print(1); sys.exit(0)"])
def test_a_closed_pipe_ends_without_a_message(code: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run_code(f"with standard_output(): {code}", writer, PYTHONUNBUFFERED=unbuffered)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = run_code("with standard_output(): print(1)", full.fileno())
    line = "error: standard output: No space left on device; make room, or print elsewhere\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_a_character_that_the_encoding_lacks_is_escaped() -> None:
    code = "with standard_output(): print('Am\\xe9lie', '\\udce9')"
    for encoding, text in (("ascii", "Am\\xe9lie \\udce9\n"), ("utf-8", "Amélie \\udce9\n")):
        done = run_code(code, subprocess.PIPE, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stdout, done.stderr) == (0, text, "")


def test_other_errors_stay_as_they_are() -> None:
    done = run_code("with standard_output(): open('/nowhere/x')", subprocess.PIPE)
    assert done.stderr.endswith("No such file or directory: '/nowhere/x'\n")
    done = run_code("with standard_output(): sys.exit('error: x')", subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "error: x\n")


def test_the_help_of_a_stage_may_meet_a_closed_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "from stages.common.stage import run_stage\nsys.argv = ['x', '--help']\n"
    done = run_code(code + "run_stage(lambda: '')", writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
