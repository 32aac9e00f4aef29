"""Ray clusters of two processors on this machine."""

import gc
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.parallel import executor
from tests.conftest import NOT_FOR_S3, ROOT, edit_params
from tests.parallel.runs import working_in

MAX_SECONDS = 1800  # of one training test: a cluster that hangs must fail, a slow one not
# Ray's workers have a low priority: beside other work, which this load shows, they are slow.
MAX_LOAD = 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="module")
def ray_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose params.yaml chooses a cluster, which runs until the module's tests end."""
    from stages.parallel.ray_backend.cluster import connect

    with pytest.MonkeyPatch.context() as patch:
        if not NOT_FOR_S3:  # workers must reach the bucket too
            patch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("bucket"))
        home = tmp_path_factory.mktemp("ray_home")
        shutil.copy(ROOT / "params.yaml", home)
        edit_params(home, backend="ray", ray__workers=2)
        with working_in(home):
            ray = connect()
        yield home
        ray.shutdown()
        connect.cache_clear()


@pytest.fixture
def time_limit() -> Iterator[None]:
    """End a test that hangs."""

    def stop(*_: object) -> None:
        if os.getloadavg()[2] > MAX_LOAD:
            signal.alarm(MAX_SECONDS)
            return
        # `ray.get` ignores other exceptions of signal handlers.
        raise SystemExit(f"not done after {MAX_SECONDS} s")

    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MAX_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)


@pytest.fixture(scope="module")
def training_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose params.yaml chooses two workers; ends their cluster after the module."""
    folder = tmp_path_factory.mktemp("ray")
    shutil.copy(ROOT / "params.yaml", folder)
    edit_params(folder, backend="ray", ray__workers=2, ray__storage=str(folder / "storage"))
    yield folder
    with warnings.catch_warnings():
        # Ray ends the cluster's processes without waiting for them.
        warnings.simplefilter("ignore")
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        gc.collect()
    if "stages.parallel.ray_backend.cluster" in sys.modules:
        sys.modules["stages.parallel.ray_backend.cluster"].connect.cache_clear()


@pytest.fixture
def two_workers(
    training_folder: Path, time_limit: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The current folder has params.yaml with two workers of a local cluster."""
    monkeypatch.chdir(training_folder)
    executor.backend.cache_clear()
    yield training_folder
    executor.backend.cache_clear()
