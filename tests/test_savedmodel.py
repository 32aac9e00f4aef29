"""The SavedModel of the user tower equals the NumPy form that serving uses."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from stages.common.files import read_arrays
from stages.common.tables import HISTORIES, read_table
from stages.towers import history_matrices, serve_users
from tests.conftest import ROOT


def saved(model: Path, folder: Path) -> dict[str, bytes]:
    """The files that the stage writes in a process of its own."""
    command = [sys.executable, "-m", "stages.export_savedmodel"]
    options = ["--model", str(model), "--savedmodel", str(folder)]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_it_gives_the_vectors_that_are_served_and_repeats_itself(
    tiny_run: Path, tmp_path: Path
) -> None:
    from stages.retrieval.ops import tf

    model = tiny_run / "data" / "models" / "history" / "test.npz"
    first = saved(model, tmp_path / "first")
    assert sorted(first) == [
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    assert saved(model, tmp_path / "second") == first

    arrays = read_arrays(model)
    histories = read_table(tiny_run / "data" / "histories" / "test.parquet", HISTORIES)
    _, served = serve_users(arrays, histories)
    loaded = tf.saved_model.load(str(tmp_path / "first"))
    assert np.array_equal(loaded.movie_ids.numpy(), arrays["movie_ids"])
    movies, gaps = history_matrices(histories, arrays["movie_ids"], len(arrays["position"]))
    vectors = loaded.users(tf.constant(movies), tf.constant(gaps)).numpy()
    assert vectors.shape == (histories.height, arrays["movie"].shape[1] + 1)
    assert np.allclose(vectors, served, atol=1e-5)
    assert np.ptp(served[:, :-1], axis=0).min() > 0.1  # users differ
    named = loaded.signatures["serving_default"](movies=movies[:2], gaps=gaps[:2])
    (two,) = named.values()
    assert np.allclose(two, served[:2], atol=1e-5)
