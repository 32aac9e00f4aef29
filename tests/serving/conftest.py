"""The bundle of the tiny run: loaded or served once a module, or copied for one test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.serving.demo import Demo
from stages.serving.local_server import Server
from stages.serving.pipeline import ServingPipeline
from tests.serving.http_client import serve


@pytest.fixture(scope="module")
def recommender(tiny_run: Path) -> ServingPipeline:
    return ServingPipeline(tiny_run / "data" / "bundle")


@pytest.fixture(scope="module")
def recommender_as_evaluated(tiny_run: Path) -> ServingPipeline:
    return ServingPipeline(tiny_run / "data" / "bundle_as_evaluated")


@pytest.fixture
def bundle(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, elsewhere."""
    return Path(shutil.copytree(tiny_run / "data" / "bundle", tmp_path / "elsewhere" / "bundle"))


@pytest.fixture(scope="module")
def server(recommender: ServingPipeline) -> Iterator[Server]:
    demo = Demo(recommender)
    with serve(Server(demo.page(), demo.routes(), 0)) as running:
        yield running
