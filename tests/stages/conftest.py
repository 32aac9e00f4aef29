"""Fixtures of the tests of stages."""

from pathlib import Path

import pytest

from tests.raw_folder import raw  # noqa: F401 (a fixture)
from tests.stages.results import write_results


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with params.yaml and all that the stages before `evaluate` leave."""
    write_results(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
