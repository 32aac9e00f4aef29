"""The SavedModel of the user tower equals the NumPy form that serving uses."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from stages.common.files import read_arrays
from stages.common.tables import HISTORIES, read_table
from stages.models.towers import history_matrices
from stages.models.user_vectors import user_embeddings
from tests.conftest import ROOT


def export(model: Path, folder: Path) -> dict[str, bytes]:
    """The files that the stage writes in a new process."""
    command = [sys.executable, "-m", "stages.export_savedmodel"]
    options = ["--model", str(model), "--savedmodel", str(folder)]
    process = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_it_gives_the_vectors_that_are_served_and_repeats_itself(
    tiny_run: Path, tmp_path: Path
) -> None:
    from stages.retrieval.ops import tf

    model = tiny_run / "data" / "models" / "retrievers" / "history" / "serve.npz"
    files = export(model, tmp_path / "first")
    assert sorted(files) == [
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    assert export(model, tmp_path / "second") == files

    arrays = read_arrays(model)
    histories = read_table(tiny_run / "data" / "histories" / "serve.parquet", HISTORIES)
    _, expected = user_embeddings(arrays, histories)
    tower = tf.saved_model.load(str(tmp_path / "first"))
    assert np.array_equal(tower.movie_ids.numpy(), arrays["movie_ids"])
    movies, gaps = history_matrices(histories, arrays["movie_ids"], len(arrays["position"]))
    vectors = tower.users(tf.constant(movies), tf.constant(gaps)).numpy()
    assert vectors.shape == (histories.height, arrays["movie"].shape[1] + 1)
    assert np.allclose(vectors, expected, atol=1e-5)
    assert np.ptp(expected[:, :-1], axis=0).min() > 0.05  # users differ
    outputs = tower.signatures["serving_default"](movies=movies[:2], gaps=gaps[:2])
    (signature_vectors,) = outputs.values()
    assert np.allclose(signature_vectors, expected[:2], atol=1e-5)
