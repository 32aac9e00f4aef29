"""The SavedModel of the history retriever gives the lists that NumPy and FAISS compute."""

import os
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import polars as pl
import pytest

from stages.candidates import search_unseen
from stages.common.files import read_arrays
from stages.common.tables import HISTORIES, read_table
from stages.data.snapshots import read_seen
from stages.models.user_vectors import user_embeddings
from tests.conftest import ROOT

K = 12
LOAD = """
import sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load("savedmodel")
inputs = dict(np.load("inputs.npz"))
lists = model.recommend(**inputs)
signature = model.signatures["serving_default"](**{k: tf.constant(v) for k, v in inputs.items()})
assert all((signature[name] == values).numpy().all() for name, values in lists.items())
vectors = model.signatures["user_vectors"](
    **{name: tf.constant(inputs[name]) for name in ("history", "timestamps", "is_low")}
)
np.savez("outputs.npz", **lists, **vectors)
assert not {"tensorflow_recommenders", "tf_keras", "stages"} & set(sys.modules)
"""


def run_python(*arguments: str, cwd: Path) -> None:
    # Other tests of this process may have chosen Keras 2.
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    command = [sys.executable, *arguments]
    process = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


def export(data: Path, folder: Path) -> dict[str, bytes]:
    """The files that the stage writes in a new process."""
    model, ids = data / "models" / "retrievers" / "history" / "serve.npz", data / "ids"
    options = ["--model", str(model), "--movie-ids", str(ids / "movies.parquet")]
    stage = ["-m", "stages.export_savedmodel", *options, "--savedmodel", str(folder)]
    run_python(*stage, cwd=ROOT)
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def exported(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the folder `savedmodel`."""
    folder = tmp_path_factory.mktemp("exported")
    export(tiny_run / "data", folder / "savedmodel")
    return folder


def test_two_processes_write_equal_bytes(tiny_run: Path, exported: Path, tmp_path: Path) -> None:
    files = export(tiny_run / "data", tmp_path / "second")
    assert sorted(files) == [
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    for name, content in files.items():
        assert (exported / "savedmodel" / name).read_bytes() == content


def pad(lists: list[list[int]]) -> np.ndarray:
    """[n, the longest list's length] int64, -1 after the end of a list."""
    width = max(map(len, lists))
    return np.array([[*row, *[-1] * (width - len(row))] for row in lists], dtype=np.int64)


def test_plain_tensorflow_gives_the_unseen_lists_of_faiss(tiny_run: Path, exported: Path) -> None:
    data = tiny_run / "data"
    histories = read_table(data / "histories" / "serve.parquet", HISTORIES)
    seen = read_seen(data / "seen", "serve")
    users, vectors = user_embeddings(
        read_arrays(data / "models" / "retrievers" / "history" / "serve.npz"), histories, seen
    )
    index = faiss.read_index(str(data / "index" / "history" / "serve.faiss"))
    expected = search_unseen(index, users, vectors, seen, K)
    seen_of_users = histories.select("user_id").join(
        seen.group_by("user_id").agg("movie_id"), on="user_id", maintain_order="left"
    )
    ratings = seen.drop_nulls().sort("user_id", "age", descending=[False, True])
    ratings = ratings.with_columns(is_low=~pl.col("positive"))
    assert ratings["is_low"].any()
    ratings = histories.select("user_id").join(
        ratings.group_by("user_id", maintain_order=True).agg("movie_id", "timestamp", "is_low"),
        on="user_id",
        maintain_order="left",
    )
    np.savez(
        exported / "inputs.npz",
        history=pad(ratings["movie_id"].to_list()),
        timestamps=pad(ratings["timestamp"].to_list()),
        is_low=pad(ratings["is_low"].to_list()) == 1,
        seen=pad(seen_of_users["movie_id"].to_list()),
        k=np.int32(K),
    )
    run_python("-c", LOAD, cwd=exported)
    outputs = np.load(exported / "outputs.npz")
    assert np.allclose(outputs["vectors"], vectors, atol=1e-5)
    assert np.ptp(vectors[:, :-1], axis=0).mean() > 0.3  # users differ
    assert outputs["movie_ids"].shape == (len(users), K)
    is_movie = outputs["movie_ids"] >= 0
    assert np.array_equal(
        is_movie.sum(axis=1), expected.group_by("user_id").len().sort("user_id")["len"]
    )
    assert np.array_equal(outputs["movie_ids"][is_movie], expected["movie_id"])
    assert np.allclose(outputs["scores"][is_movie], expected["score"], atol=1e-5)
