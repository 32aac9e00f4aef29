"""A program measures the commit of the repository, or says that it does not."""

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.clones import clone, git


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a repository with one commit of one file."""
    folder = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    for key, value in (("user.name", "A"), ("user.email", "a@b.c")):
        git(folder, "config", key, value)
    monkeypatch.chdir(folder)
    write(folder, "seed: 1\n")
    git(folder, "add", "params.yaml")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def write(folder: Path, text: str) -> None:
    (folder / "params.yaml").write_text(text)


def test_a_clone_has_the_commit_and_is_kept(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "clones" / "42"
    clone(folder)
    assert (folder / "params.yaml").read_text() == "seed: 1\n"
    write(folder, "seed: 2\n")
    clone(folder)
    assert (folder / "params.yaml").read_text() == "seed: 2\n"
    assert capsys.readouterr().err == ""


def test_a_clone_of_another_commit_is_refused(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    clone(folder)
    write(repository, "seed: 3\n")
    git(repository, "commit", "--quiet", "-am", "second")
    message = rf"^{re.escape(str(folder))}: is at commit \w{{12}}, not \w{{12}}; delete it, or name"
    with pytest.raises(SystemExit, match=message):
        clone(folder)
    assert (folder / "params.yaml").read_text() == "seed: 1\n"


def test_what_is_not_committed_is_named(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write(repository, "seed: 4\n")
    clone(tmp_path / "clone")
    assert (tmp_path / "clone" / "params.yaml").read_text() == "seed: 1\n"
    expected = f"params.yaml: changed, not committed: not in {tmp_path / 'clone'}\n"
    assert capsys.readouterr().err == expected
