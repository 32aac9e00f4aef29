"""Fixtures of the tests of retrievers."""

import pytest

from tests.conftest import ROOT
from tests.retrieval.tables import tables  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the params.yaml of the repository."""
    monkeypatch.chdir(ROOT)
