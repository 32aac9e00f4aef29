"""The bundle of the tiny run, loaded once a module or copied for one test."""

import shutil
from pathlib import Path

import pytest

from stages.serving.recommender import Recommender


@pytest.fixture(scope="module")
def recommender(tiny_run: Path) -> Recommender:
    return Recommender(tiny_run / "data" / "bundle")


@pytest.fixture
def bundle(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, elsewhere."""
    return Path(shutil.copytree(tiny_run / "data" / "bundle", tmp_path / "elsewhere" / "bundle"))
