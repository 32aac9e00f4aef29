"""Shared fixtures: a tiny MovieLens-like data set written by code, and the pipeline's root."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.common.params import YAML

ROOT = Path(__file__).parents[1]
# With more threads, little work takes longer, and many times longer on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
NOT_FOR_S3 = [name for name in ("dvc_s3", "moto", "flask") if not importlib.util.find_spec(name)]
SMALL = {
    "dimension": 8,
    "batch_size": 64,
    "epochs": 2,
    "num_negative_candidates": 16,
    "num_hard_negatives": 4,
}
GENRES = ["Action", "Comedy", "Drama", "Sci-Fi"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that selects a part of the long tests."""
    text = "run part N of M of the tests marked long, and all others; N counts from 0"
    parser.addoption("--long-part", metavar="N/M", default="0/1", help=text)


def tiny_tables(users: int = 60, movies: int = 40) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ratings and movies; a user prefers one genre, so there is something to learn."""
    rng = np.random.default_rng(7)
    taste = rng.integers(0, len(GENRES), users)
    genre = np.arange(movies) % len(GENRES)
    rows = []
    for user in range(users):
        weight = np.where(genre == taste[user], 8.0, 1.0) / (1 + np.arange(movies) / 8)
        chosen = rng.choice(
            movies, size=rng.integers(8, 20), replace=False, p=weight / weight.sum()
        )
        for place, movie in enumerate(chosen):
            stars = 5.0 if genre[movie] == taste[user] else float(rng.integers(2, 6))
            rows.append((user + 1, int(movie) + 1, stars, 1_000_000_000 + place * 5000 + user))
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating", "timestamp"], orient="row")
    titles = [f"Film, No. {m + 1} ({1980 + m})" for m in range(movies)]
    names = [GENRES[g] if m else "(no genres listed)" for m, g in enumerate(genre)]
    catalogue = pl.DataFrame({"movieId": range(1, movies + 1), "title": titles, "genres": names})
    return ratings, catalogue


def write_tiny(folder: Path, tables: tuple[pl.DataFrame, pl.DataFrame] | None = None) -> Path:
    """Make `folder`, with ratings.csv and movies.csv; those of `tiny_tables` unless given."""
    folder.mkdir(parents=True)
    ratings, movies = tables or tiny_tables()
    ratings.write_csv(folder / "ratings.csv")
    movies.write_csv(folder / "movies.csv")
    return folder


@pytest.fixture
def tiny_movielens(tmp_path: Path) -> Path:
    """A folder with ratings.csv and movies.csv."""
    return write_tiny(tmp_path / "tiny")


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{name}_NAME": "Test", f"GIT_{name}_EMAIL": "test@example.org"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the code and params, to run stages in as a user would."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copytree(
        ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "data" / "sources", folder / "data" / "sources")
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with params.yaml and a finished data/ of the tiny data set; not to be changed."""
    if finished := os.environ.get("TINY_RUN"):  # made once for many mutants
        return Path(finished)
    from tests.tiny_chain import run_chain

    folder = tmp_path_factory.mktemp("tiny_run")
    run_chain(folder)
    return folder


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a local server that speaks S3 and has a bucket `movies`."""
    if NOT_FOR_S3:
        pytest.skip(f"{', '.join(NOT_FOR_S3)} missing: pip install -r tests/requirements.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    path = tmp_path_factory.mktemp("bucket") / "server.log"
    with path.open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    try:
        for _ in range(120):
            assert server.poll() is None, path.read_text()
            try:
                request = urllib.request.Request(f"{address}/movies", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**keys, "AWS_DEFAULT_REGION": "us-east-1"}.items():
                patch.setenv(name, value)
            yield address
    finally:
        server.terminate()
        server.wait()


def dvc(repo: Path, *arguments: str, ok: bool = True) -> str:
    done = run(["dvc", *arguments], repo)
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, text[-3000:]
    return text


def ran(text: str) -> set[str]:
    """The names of the stages that a `dvc repro` has run."""
    return set(re.findall(r"Running stage '([^']+)'", text))


def commit(repo: Path, message: str) -> None:
    run(["git", "add", "-A"], repo)
    done = run(["git", "commit", "-qm", message], repo)
    assert done.returncode == 0, done.stdout + done.stderr


def edit_params(repo: Path, **changes: object) -> None:
    """Set dotted keys, written with `__` for the dot."""
    yaml = YAML()
    params = yaml.load(repo / "params.yaml")
    for key, value in changes.items():
        *sections, last = key.split("__")
        block = params
        for section in sections:
            block = block[section]
        block[last] = value
    yaml.dump(params, repo / "params.yaml")


def copy_repository(folder: Path) -> Path:
    """Make `folder`, with all files that are in Git or could be."""
    names = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], ROOT).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with small models and a user's folder as its source, run once and committed."""
    folder = copy_repository(tmp_path_factory.mktemp("clone") / "repo")
    source = write_tiny(folder.parent / "tiny")
    changes = {"data__source": str(source), "histories__max_length": 8, "candidates__count": 200}
    for name, block in YAML().load(folder / "params.yaml")["retrievers"].items():
        smaller = {k: v for k, v in SMALL.items() if k in block}
        changes |= {f"retrievers__{name}__{k}": v for k, v in smaller.items()}
    edit_params(folder, **changes, lightgbm__num_boost_round=20, lightgbm__min_data_in_leaf=5)
    (folder / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(folder / "metrics", ignore_errors=True)
    for command in (["git", "init", "-q", "-b", "main"], ["git", "add", "-A"]):
        run(command, folder)
    dvc(folder, "repro")
    commit(folder, "first run")
    return folder


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select a part of the long tests, and group those of the finished run.

    A hash of a test's name says which part it is in. One of several processes does all tests of the
    finished run, which takes minutes.
    """
    part, parts = map(int, config.getoption("--long-part").split("/"))
    for item in items[:]:
        in_part = zlib.crc32(item.nodeid.encode()) % parts == part
        if not in_part and item.get_closest_marker("long"):
            items.remove(item)
            config.hook.pytest_deselected(items=[item])
        elif "finished_run" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("finished_run"))


@pytest.fixture
def repo(finished_run: Path) -> Iterator[Path]:
    """The finished run, which is put back as it was after the test."""
    repo = finished_run
    yield repo
    run(["git", "checkout", "-q", "-f", "main"], repo)
    # A failed `dvc exp run` may leave an index in which a changed file of equal size is unchanged.
    (repo / ".git" / "index").unlink()
    run(["git", "reset", "-q", "--hard"], repo)
    run(["git", "clean", "-qfd"], repo)
    dvc(repo, "checkout", "-q", "-f")
