"""In shards, with or without a Ray cluster, a stage writes what it writes locally."""

from pathlib import Path

import pytest

from stages.common.stage import StageError
from stages.parallel.ray_backend.shards import Storage
from tests.conftest import NOT_FOR_S3
from tests.parallel.runs import (
    METHODS,
    check_equal,
    planted_ratings,
    run_user_stages,
    with_ray,
    write_inputs,
)

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own code warns


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do all tasks here, one after the other."""
    monkeypatch.setattr("stages.parallel.ray_backend.cluster.ray_map", map)
    monkeypatch.setattr("stages.parallel.ray_backend.shards.ray_map", map)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("method", "shards"),
    # The last three have more shards than users, so that some shards have no row.
    [
        ("file", 2),
        ("hash", 7),
        ("first", 5),
        ("last", 4),
        ("all", 3),
        ("file", 70),
        ("first", 70),
        ("all", 70),
    ],
)
def test_shards_give_the_same_as_whole_tables(tmp_path: Path, method: str, shards: int) -> None:
    run_user_stages(write_inputs(tmp_path / "local", **METHODS[method]))
    on_ray = {"backend": "ray", "ray__shards": shards, "ray__storage": str(tmp_path / "shards")}
    run_user_stages(write_inputs(tmp_path / "ray", **METHODS[method], **on_ray))
    check_equal(tmp_path / "ray", tmp_path / "local")
    assert list((tmp_path / "shards").iterdir()) == []


@pytest.mark.usefixtures("in_this_process")
def test_shards_in_a_bucket(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    run_user_stages(write_inputs(tmp_path / "local"))
    on_ray = {"backend": "ray", "ray__shards": 3, "ray__storage": "s3://movies/some/where"}
    run_user_stages(write_inputs(tmp_path / "ray", **on_ray))
    check_equal(tmp_path / "ray", tmp_path / "local")


def test_a_table_in_a_bucket_is_complete_or_missing(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    storage = Storage("s3://movies/other")
    storage.write(planted_ratings(), "a/b.parquet")
    assert storage.read("a/b.parquet").equals(planted_ratings())
    with pytest.raises(StageError, match=r"^ray\.storage: .*; use one that all machines reach"):
        storage.read("a/c.parquet")
    storage.remove()
    with pytest.raises(StageError):
        storage.read("a/b.parquet")


@with_ray
@pytest.mark.parametrize("storage", ["folder", "bucket"])
def test_user_stages_write_the_same_through_ray(
    ray_home: Path, tmp_path: Path, storage: str
) -> None:
    if storage == "bucket" and NOT_FOR_S3:
        pytest.skip(f"{', '.join(NOT_FOR_S3)} missing: pip install -r tests/requirements.txt")
    run_user_stages(write_inputs(tmp_path / "local"))
    address = str(tmp_path / "shards") if storage == "folder" else "s3://movies/through"
    on_ray = {"backend": "ray", "ray__shards": 4, "ray__storage": address}
    run_user_stages(write_inputs(tmp_path / "ray", **on_ray))
    check_equal(tmp_path / "ray", tmp_path / "local")
