"""On a Ray cluster, or in shards without one, every stage writes what it writes locally."""

import contextlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import faiss
import numpy as np
import polars as pl
import pytest

from stages import (
    candidates,
    cluster,
    dislikes,
    engine,
    fusion,
    histories,
    popularity,
    positives,
    ranker_data,
    rerank,
    time_split,
    top_k,
)
from stages.cluster import connect, ray_params
from stages.common import tables
from stages.common.stage import StageError
from stages.common.tables import CATALOGUE, RATINGS, write_table
from stages.faiss_index import Params, build_index
from stages.hashing import split
from stages.shards import Storage
from tests.conftest import NOT_FOR_S3, ROOT, edit_params
from tests.tiny_chain import BEFORE, DATA, LISTS, MODELS, MOVIES, PARTS, SPLIT

with_ray = pytest.mark.skipif(
    not importlib.util.find_spec("ray"),
    reason="ray missing: pip install -r requirements-ray.txt",
)
# Ray's own code warns of its own habits.
pytestmark = pytest.mark.filterwarnings("default")
FEW = 32  # users at once, a multiple of those of features


def planted_ratings() -> pl.DataFrame:
    """RATINGS with few different times, and movies rated again, also at the same time."""
    rng = np.random.default_rng(3)
    size = 4000
    columns = {
        "user_id": rng.integers(1, 60, size),
        "movie_id": rng.integers(1, 30, size),
        "rating": rng.choice([2.0, 3.0, 4.0, 5.0], size),
        "timestamp": rng.integers(10**9, 10**9 + 40, size),
        "row": rng.permutation(size),
    }
    return pl.DataFrame(columns, schema_overrides=RATINGS).select(RATINGS.names())


def chosen_engine(folder: Path, **changes: object) -> None:
    edit_params(folder, **changes)
    engine.chosen.cache_clear()


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder):
        engine.chosen.cache_clear()
        try:
            yield
        finally:
            engine.chosen.cache_clear()


def data_stages(folder: Path) -> None:
    """The stages that treat each user's rows by themselves."""
    with working_in(folder):
        positives.main(DATA / "ratings.parquet", DATA / "positives.parquet")
        time_split.main(DATA / "positives.parquet", SPLIT, Path("split.json"))
        histories.main(*PARTS, BEFORE)
        dislikes.main(DATA / "ratings.parquet", *PARTS, DATA / "dislikes")
        catalogue, name = MOVIES / "catalogue.parquet", "popularity"
        popularity.main(catalogue, *PARTS, BEFORE, DATA / name, LISTS / name)


def planted(folder: Path, **changes: object) -> Path:
    """A folder with params.yaml and the inputs of `data_stages`."""
    folder.mkdir()
    shutil.copy(ROOT / "params.yaml", folder)
    edit_params(folder, histories__learnt_users=20, histories__max_length=6, **changes)
    write_table(planted_ratings(), folder / DATA / "ratings.parquet", RATINGS)
    ids = pl.Series(np.arange(1, 31), dtype=pl.Int32)
    movies = pl.DataFrame(
        {"movie_id": ids, "title": ["x"] * 30, "year": 1990, "genres": [["A"]] * 30}
    )
    write_table(movies, folder / MOVIES / "catalogue.parquet", CATALOGUE)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != "params.yaml"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def check_same(folder: Path, local: Path) -> None:
    """All files are equal, and what was split has been removed."""
    found, wanted = files(folder), files(local)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


METHODS = {
    "file": {"time_split__ties": "file"},
    "hash": {"time_split__ties": "hash"},
    "first": {"time_split__method": "global", "time_split__targets": "first"},
    "all": {"time_split__method": "global", "time_split__targets": "all"},
}


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that Ray would do elsewhere, one after the other."""
    monkeypatch.setattr("stages.cluster.on_ray", map)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("method", "shards"),
    # The last: more shards than users, so that some have no row.
    [("file", 2), ("hash", 7), ("first", 5), ("all", 3), ("file", 70), ("first", 70)],
)
def test_shards_give_what_the_whole_gives(tmp_path: Path, method: str, shards: int) -> None:
    data_stages(planted(tmp_path / "local", **METHODS[method]))
    away = {"engine": "ray", "ray__shards": shards, "ray__storage": str(tmp_path / "shards")}
    data_stages(planted(tmp_path / "ray", **METHODS[method], **away))
    check_same(tmp_path / "ray", tmp_path / "local")
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_user_is_in_one_part_and_always_in_the_same() -> None:
    table = planted_ratings().select("user_id", "row")
    parts = split(table, 7)
    assert sum(part["user_id"].n_unique() for part in parts) == table["user_id"].n_unique()
    merged = pl.concat(parts[::-1]).sort("user_id", maintain_order=True)
    assert merged.equals(table.sort("user_id", maintain_order=True))
    few = split(pl.DataFrame({"user_id": pl.Series(range(8), dtype=pl.Int32)}), 4)
    assert [part["user_id"].to_list() for part in few] == [[1, 6], [7], [2, 5], [0, 3, 4]]
    many = split(pl.DataFrame({"user_id": range(2000)}), 3)
    assert min(part.height for part in many) > 600


@pytest.mark.usefixtures("in_this_process")
def test_shards_in_a_bucket(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    data_stages(planted(tmp_path / "local"))
    away = {"engine": "ray", "ray__shards": 3, "ray__storage": "s3://movies/some/where"}
    data_stages(planted(tmp_path / "ray", **away))
    check_same(tmp_path / "ray", tmp_path / "local")


def test_a_table_in_a_bucket_is_there_whole_or_not(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    storage = Storage("s3://movies/other")
    storage.write(planted_ratings(), "a/b.parquet")
    assert storage.read("a/b.parquet").equals(planted_ratings())
    with pytest.raises(StageError, match=r"^ray\.storage: .*; make it one that all machines reach"):
        storage.read("a/c.parquet")
    storage.remove()
    with pytest.raises(StageError):
        storage.read("a/b.parquet")


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
def test_what_is_wrong_in_the_params(tmp_path: Path, changes: dict, message: str) -> None:
    with working_in(planted(tmp_path / "p", **changes)), pytest.raises(StageError) as error:
        ray_params()
    assert str(error.value).startswith(message)


def test_without_ray_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with working_in(planted(tmp_path / "p", engine="ray")), pytest.raises(StageError) as error:
        connect.__wrapped__()
    wanted = "engine: is ray, which is not installed; pip install -r requirements-ray.txt"
    assert str(error.value) == wanted


# Through Ray itself.


@pytest.fixture(scope="module")
def ray_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run with a cluster of two processors for it, until the module has ended."""
    with pytest.MonkeyPatch.context() as patch:
        if not NOT_FOR_S3:  # which workers are to reach as well
            patch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("bucket"))
        home = tmp_path_factory.mktemp("ray_home")
        shutil.copy(ROOT / "params.yaml", home)
        edit_params(home, engine="ray", ray__workers=2)
        with working_in(home):
            ray = connect()
        yield home
        ray.shutdown()
        connect.cache_clear()


@with_ray
@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_data_through_ray(ray_home: Path, tmp_path: Path, place: str) -> None:
    if place == "bucket" and NOT_FOR_S3:
        pytest.skip(f"{', '.join(NOT_FOR_S3)} missing: pip install -r tests/requirements.txt")
    data_stages(planted(tmp_path / "local"))
    storage = str(tmp_path / "shards") if place == "folder" else "s3://movies/through"
    data_stages(planted(tmp_path / "ray", engine="ray", ray__shards=4, ray__storage=storage))
    check_same(tmp_path / "ray", tmp_path / "local")


@with_ray
@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_an_index_finds_the_same_through_ray(
    ray_home: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_k, "USERS_AT_ONCE", 50)
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    index = build_index(np.arange(400), vectors, Params(kind, "inner_product", 16, 8, 16))
    users, queries = np.arange(1, 201), rng.normal(size=(200, 16)).astype(np.float32)
    seen = planted_ratings().select("user_id", "movie_id")
    found = []
    for name in ("local", "ray"):
        with working_in(ray_home):
            chosen_engine(ray_home, engine=name)
            found.append(candidates.search_unseen(index, users, queries, seen, 20))
    assert found[0].height == 200 * 20
    assert found[1].equals(found[0])
    assert isinstance(index, faiss.IndexIDMap2)


@with_ray
def test_lists_through_ray(
    ray_home: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_k, "USERS_AT_ONCE", 25)
    monkeypatch.setattr(tables, "USERS_AT_ONCE", FEW)
    shared, on_ray = [], cluster.on_ray

    def watched(function: Callable, items: Iterable) -> Iterator:
        shared.append(function)
        return on_ray(function, items)

    monkeypatch.setattr(cluster, "on_ray", watched)
    for name in ("local", "ray"):
        folder = tmp_path / name
        shutil.copytree(tiny_run, folder)
        with working_in(folder):
            chosen_engine(folder, engine=name)
            vectors = DATA / "embeddings" / "history"
            lists = LISTS / "history"
            candidates.main(DATA / "index" / "history", vectors, *PARTS, BEFORE, lists)
            fusion.main(LISTS, DATA / "pools" / "fusion", LISTS / "fusion")
            known = (
                *(MOVIES / f"{kind}.parquet" for kind in ("catalogue", "genres")),
                DATA / "popularity",
                DATA / "dislikes",
                *PARTS,
                BEFORE,
                vectors,
                MODELS / "item_knn",
                MODELS / "ease",
            )
            pool, model = DATA / "pools" / "fusion", MODELS / "ranker_hit"
            ranker_data.main("hit", pool, *known, DATA / "examples" / "hit")
            ranked = LISTS / "ranker_hit" / "test.parquet"
            rerank.main("hit", model, pool, *known, ranked)
        assert len(shared) == (0 if name == "local" else 3 + 3 + 2 + 1)  # one for each fold
    check_same(tmp_path / "ray", tmp_path / "local")


@with_ray
def test_a_workers_error_is_one_line(ray_home: Path) -> None:
    def part(number: int) -> int:
        if number == 3:
            raise StageError("some.key: is 3; use another")
        return number

    with working_in(ray_home):
        chosen_engine(ray_home, engine="ray")
        with pytest.raises(StageError, match=r"^some\.key: is 3; use another$"):
            list(engine.over(part, range(20)))
        with pytest.raises(ZeroDivisionError):
            list(engine.over(lambda x: 1 / x, [1, 0]))
        assert list(engine.over(lambda x: x * x, range(50))) == [x * x for x in range(50)]


@with_ray
def test_a_function_is_unpacked_once_in_a_process(ray_home: Path) -> None:
    class Heavy:
        def __init__(self) -> None:
            self.made = 0

        def __setstate__(self, state: dict) -> None:
            import uuid

            self.made = uuid.uuid4().hex

    heavy = Heavy()
    with working_in(ray_home):
        chosen_engine(ray_home, engine="ray")
        found = set(engine.over(lambda _: heavy.made, range(30)))
    assert 1 <= len(found) <= 2


@with_ray
def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    folder = planted(tmp_path / "p", engine="ray", ray__address="127.0.0.1:9")
    command = [sys.executable, "-m", "stages.positives", "--ratings", "data/ratings.parquet"]
    command += ["--positives", "data/positives.parquet"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ray.address: "), done.stderr
    assert "Traceback" not in done.stderr
