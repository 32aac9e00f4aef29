"""The versions of Python: one range in all files, and what .ci/interpreters says about each."""

import re
import tomllib
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import ROOT, run

SCRIPT = ROOT / ".ci" / "interpreters"
FURTHER = re.search(r'^FURTHER="(.*)"$', SCRIPT.read_text(), re.M)[1].split()


def run_script(versions: Path, monkeypatch: pytest.MonkeyPatch) -> CompletedProcess:
    monkeypatch.setenv("PYENV_ROOT", str(versions.parent))
    return run([str(SCRIPT)], versions.parent)


def add_python(versions: Path, version: str, script: str) -> None:
    """An interpreter that is the shell script `script`."""
    path = versions / f"{version}.4" / "bin" / f"python{version}"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    folder = tmp_path / "versions"
    folder.mkdir()
    return folder


def test_an_interpreter_that_is_missing_is_skipped_and_named(
    versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = run_script(versions, monkeypatch)
    assert process.returncode == 0
    assert process.stdout.splitlines() == [
        f"Python {version}: skipped, pyenv has none" for version in FURTHER
    ]


def test_a_failure_ends_the_script_and_a_timeout_is_named(
    versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_python(versions, FURTHER[0], "exit 124")  # as `timeout` does
    add_python(versions, FURTHER[1], "exit 3")
    process = run_script(versions, monkeypatch)
    assert process.returncode == 1
    assert re.fullmatch(rf"Python {FURTHER[0]}: skipped after \d+ seconds\n", process.stdout)
    assert process.stderr == f"Python {FURTHER[1]}: failed\n"


def test_an_interpreter_that_passes_is_named(
    versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `python -m venv FOLDER` makes a Python that does nothing.
    make = 'mkdir -p "$3/bin"; printf "#!/bin/sh\\n" > "$3/bin/python"; chmod +x "$3/bin/python"'
    for version in FURTHER:
        add_python(versions, version, make)
    process = run_script(versions, monkeypatch)
    assert process.stdout.splitlines() == [f"Python {version}: passed" for version in FURTHER]
    assert process.returncode == 0, process.stderr


def test_all_files_name_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    low, end = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["project"]["requires-python"]).groups()
    versions = [f"3.{minor}" for minor in range(int(low), int(end))]
    assert versions[1:] == FURTHER
    assert project["tool"]["ruff"]["target-version"] == f"py3{low}"
    makefile = (ROOT / "Makefile").read_text()
    assert f"PYTHON ?= python{versions[0]}\n" in makefile
    assert f"for python in {' '.join(versions)}; do" in makefile
    text = f"Python {', '.join(versions[:-1])} or {versions[-1]}"
    assert text in (ROOT / "README.md").read_text()
