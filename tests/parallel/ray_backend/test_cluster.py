"""The section `ray` of params.yaml, and work that is sent to a cluster."""

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

from stages import candidates, fusion, ranker_data, rerank
from stages.common import tables
from stages.common.stage import StageError
from stages.faiss_index import Params, build_index
from stages.models import top_k
from stages.parallel import executor
from stages.parallel.ray_backend import cluster
from stages.parallel.ray_backend.cluster import connect, import_ray, ray_params
from tests.conftest import ROOT
from tests.parallel.runs import (
    check_equal,
    planted_ratings,
    set_backend,
    with_ray,
    working_in,
    write_inputs,
)
from tests.tiny_chain import (
    CANDIDATES,
    DATA,
    FEATURE_SOURCES,
    MODELS,
    RECOMMENDATIONS,
    SEEN,
    TARGETS,
)

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own code warns


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ray__address": "nowhere"}, "ray.address: is 'nowhere'; use local, auto or host:port"),
        ({"ray__storage": "gs://x"}, "ray.storage: is 'gs://x'; use a folder or s3://bucket/"),
        ({"ray__storage": ""}, "ray.storage: is ''; use"),
        ({"ray__shards": 0}, "ray.shards: is 0; use 1 to"),
        ({"ray__workers": "two"}, "ray.workers: is 'two'; write a whole number"),
        ({"ray__size": 1}, "ray.size: unknown key; use one of address"),
    ],
)
def test_wrong_params(tmp_path: Path, changes: dict, message: str) -> None:
    with working_in(write_inputs(tmp_path / "p", **changes)), pytest.raises(StageError) as error:
        ray_params()
    assert str(error.value).startswith(message)


def test_an_error_says_how_to_install_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    message = "backend: is ray, which is not installed; pip install -r requirements-ray.txt"
    with pytest.raises(StageError) as error:
        import_ray()
    assert str(error.value) == message
    folder = write_inputs(tmp_path / "p", backend="ray")
    with working_in(folder), pytest.raises(StageError) as error:
        connect.__wrapped__()
    assert str(error.value) == message


@with_ray
@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_an_index_returns_the_same_through_ray(
    ray_home: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_k, "SEARCH_BATCH_USERS", 50)
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    params = Params(kind=kind, metric="inner_product", M=16, efSearch=16, nlist=8, nprobe=16)
    index = build_index(np.arange(400), vectors, params)
    users, queries = np.arange(1, 201), rng.normal(size=(200, 16)).astype(np.float32)
    seen = planted_ratings().select("user_id", "movie_id")
    lists = []
    for backend in ("local", "ray"):
        with working_in(ray_home):
            set_backend(ray_home, backend)
            lists.append(candidates.search_unseen(index, users, queries, seen, 20))
    assert lists[0].height == 200 * 20
    assert lists[1].equals(lists[0])
    assert isinstance(index, faiss.IndexIDMap2)


@with_ray
def test_stages_that_map_batches_write_the_same_through_ray(
    ray_home: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_k, "SEARCH_BATCH_USERS", 25)
    monkeypatch.setattr(tables, "READ_BATCH_USERS", 32)  # a multiple of FEATURE_BATCH_USERS
    functions, ray_map = [], cluster.ray_map

    def counted(function: Callable, items: Iterable) -> Iterator:
        functions.append(function)
        return ray_map(function, items)

    monkeypatch.setattr(cluster, "ray_map", counted)
    for backend in ("local", "ray"):
        folder = tmp_path / backend
        shutil.copytree(tiny_run, folder)
        with working_in(folder):
            set_backend(folder, backend)
            index, vectors = DATA / "index", DATA / "embeddings"
            candidates.main("history", index, vectors, SEEN, CANDIDATES)
            fusion.main(CANDIDATES, DATA / "merged", RECOMMENDATIONS / "fusion")
            ranker_data.main("hit", FEATURE_SOURCES, TARGETS, DATA / "examples")
            rerank.main("hit", MODELS / "rankers", FEATURE_SOURCES, RECOMMENDATIONS)
        calls = 3 + 3 + 2 + 2  # one for each snapshot
        assert len(functions) == (0 if backend == "local" else calls)
    check_equal(tmp_path / "ray", tmp_path / "local")


@with_ray
def test_a_workers_error_is_raised_here(ray_home: Path) -> None:
    def fail_at_three(number: int) -> int:
        if number == 3:
            raise StageError("some.key: is 3; use another")
        return number

    with working_in(ray_home):
        set_backend(ray_home, "ray")
        with pytest.raises(StageError, match=r"^some\.key: is 3; use another$"):
            list(executor.parallel_map(fail_at_three, range(20)))
        with pytest.raises(ZeroDivisionError):
            list(executor.parallel_map(lambda x: 1 / x, [1, 0]))
        assert list(executor.parallel_map(lambda x: x * x, range(50))) == [x * x for x in range(50)]


@with_ray
def test_a_process_unpacks_a_function_once(ray_home: Path) -> None:
    class Data:
        def __init__(self) -> None:
            self.unpack_id = ""

        def __setstate__(self, state: dict) -> None:
            self.unpack_id = uuid.uuid4().hex

    data = Data()
    with working_in(ray_home):
        set_backend(ray_home, "ray")
        unpack_ids = set(executor.parallel_map(lambda _: data.unpack_id, range(30)))
    assert 1 <= len(unpack_ids) <= 2


@with_ray
def test_a_stage_without_a_cluster_ends_with_one_line(tmp_path: Path) -> None:
    folder = write_inputs(tmp_path / "p", backend="ray", ray__address="127.0.0.1:9")
    command = [sys.executable, "-m", "stages.positives", "--ratings", "data/ratings.parquet"]
    command += ["--positives", "data/positives.parquet"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ray.address: "), done.stderr
    assert "Traceback" not in done.stderr
