"""Folders in which stages run with either backend, and the comparison of their outputs."""

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import fit_generator, movie_popularity, positives
from stages.common.tables import CATALOGUE, RATINGS, write_table
from stages.parallel import executor
from tests.conftest import ROOT, edit_params
from tests.tiny_chain import CANDIDATES, DATA, HISTORIES, MODELS, MOVIES, SEEN, run_split

# `find_spec` does not import: Ray reads RAY_AUTH_MODE at its import, after
# `stages.parallel.ray_backend.cluster` has set it.
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="ray missing: pip install -r requirements-ray.txt",
)

METHODS = {
    "file": {"time_split__ties": "file"},
    "hash": {"time_split__ties": "hash"},
    "first": {"time_split__method": "global", "time_split__targets": "first"},
    "last": {"time_split__method": "global", "time_split__targets": "last"},
    "all": {"time_split__method": "global", "time_split__targets": "all"},
}


def planted_ratings() -> pl.DataFrame:
    """RATINGS with many equal times, and with movies rated again, some in the same second."""
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


def write_inputs(folder: Path, **changes: object) -> Path:
    """Create `folder` with params.yaml and the inputs of `run_user_stages`."""
    folder.mkdir()
    shutil.copy(ROOT / "params.yaml", folder)
    edit_params(folder, histories__max_validation_users=20, histories__max_length=6, **changes)
    write_table(planted_ratings(), folder / DATA / "ratings.parquet", RATINGS)
    ids = pl.Series(np.arange(1, 31), dtype=pl.Int32)
    movies = pl.DataFrame(
        {"movie_id": ids, "title": ["x"] * 30, "year": 1990, "genres": [["A"]] * 30}
    )
    write_table(movies, folder / MOVIES / "catalogue.parquet", CATALOGUE)
    return folder


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make `folder` the current one, and let its params.yaml choose the backend."""
    with contextlib.chdir(folder):
        executor.backend.cache_clear()
        try:
            yield
        finally:
            executor.backend.cache_clear()


def set_backend(folder: Path, backend: str) -> None:
    edit_params(folder, backend=backend)
    executor.backend.cache_clear()


def run_user_stages(folder: Path) -> None:
    """Run the stages that treat each user's rows independently."""
    with working_in(folder):
        ratings = DATA / "ratings.parquet"
        positives.main(ratings, DATA / "positives.parquet")
        run_split(ratings)
        movie_popularity.main(MOVIES / "catalogue.parquet", HISTORIES, MOVIES / "popularity")
        fit_generator.main("popularity", HISTORIES, SEEN, MODELS / "generators", CANDIDATES)


def read_files(folder: Path) -> dict[str, bytes]:
    """The content of all files but params.yaml, by path."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "params.yaml"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def check_equal(folder: Path, expected: Path) -> None:
    """Both folders have the same files with equal bytes, so no shard is left in either."""
    files, expected_files = read_files(folder), read_files(expected)
    assert files.keys() == expected_files.keys()
    assert [name for name in files if files[name] != expected_files[name]] == []
