"""Processes that are killed, disks that are full: nothing half-written is taken for whole."""

import contextlib
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import polars as pl
import pytest

from stages.common.files import write_arrays, write_csv, write_json
from stages.common.stage import StageError, atomic_write
from stages.common.tables import POSITIVES, parquet_appender, write_table
from tests.conftest import ROOT, dvc, run

TABLE = pl.DataFrame(
    {
        "user_id": np.random.default_rng(1).integers(0, 2**31, 200_000),
        "movie_id": np.arange(200_000),
        "timestamp": np.random.default_rng(2).integers(0, 2**31, 200_000),
        "row": np.arange(200_000),
    }
).cast(dict(POSITIVES))


def write_growing(path: Path) -> None:
    with parquet_appender(path, POSITIVES) as append:
        append(TABLE)


def write_index(path: Path) -> None:
    index = faiss.IndexFlatIP(64)
    index.add(np.ones((10_000, 64), dtype=np.float32))
    with atomic_write(path) as temporary:
        temporary.write_bytes(faiss.serialize_index(index))


def write_folder(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.mkdir()
        (temporary / "large").write_bytes(bytes(1 << 22))


WRITERS: dict[str, Callable[[Path], None]] = {
    "table": lambda path: write_table(TABLE, path, POSITIVES),
    "growing table": write_growing,
    "csv": lambda path: write_csv(TABLE, path),
    "arrays": lambda path: write_arrays({"x": np.ones(1 << 20)}, path),
    "json": lambda path: write_json(list(range(1 << 18)), path),
    "index": write_index,
    "folder": write_folder,
}


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory, of its own."""
    folder.mkdir()
    done = run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], folder.parent)
    if done.returncode:
        pytest.skip(f"no right to mount a file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        run(["umount", str(folder)], folder.parent)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_write_that_fails_is_one_line_and_leaves_the_old_output(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "output"
    path.write_text("old")
    old_limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, old_limits[1]))
    try:
        with pytest.raises(StageError, match=r"output: .*File too large.*; make room"):
            WRITERS[kind](path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limits)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_the_old_output(kind: str, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=256k") as small:
        path = small / "output"
        path.write_text("old")
        with pytest.raises(StageError, match=r"output: .*No space left on device.*; make room"):
            WRITERS[kind](path)
        assert list(small.iterdir()) == [path]
        assert path.read_text() == "old"


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "fixed", "ro") as fixed,
        pytest.raises(StageError, match=r"Read-only file system; make room, or correct the rights"),
    ):
        write_json({}, fixed / "new" / "a.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(StageError, match=r"file.*: (Not a directory|File exists); make room"):
        write_json({}, tmp_path / "file" / "a.json")


def script(body: str, **environment: str) -> subprocess.Popen:
    """A Python process that runs `body` with `path` as its argument."""
    return subprocess.Popen(
        [sys.executable, "-c", body], cwd=ROOT, env={**os.environ, **environment}
    )


HALF = """
import time
from pathlib import Path
from stages.common.stage import atomic_write
with atomic_write(Path({path!r})) as temporary:
    temporary.write_text("half")
    time.sleep(60)
"""


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_write_leaves_no_output_and_the_next_one_cleans_up(
    number: signal.Signals, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    process = script(HALF.format(path=str(path)))
    wait_for(lambda: any(p.read_text() for p in tmp_path.glob("*.tmp")))
    process.send_signal(number)
    assert process.wait(20) != 0
    assert not path.exists()
    write_json({"whole": True}, path)
    assert list(tmp_path.iterdir()) == [path]


PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""
STAGE = """
import time
from pathlib import Path
from stages.common.stage import run_stage
def main(alive: Path) -> str:
    for number in range(600):
        alive.write_text(str(number))
        time.sleep(0.1)
import sys
sys.argv = ["stage", "--alive", {path!r}]
run_stage(main)
"""


def test_a_stage_ends_when_dvc_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    command = [sys.executable, "-c", PARENT, STAGE.format(path=str(path))]
    parent = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "DVC_STAGE": "stage"})
    wait_for(path.exists)
    parent.kill()
    parent.wait()
    time.sleep(2)
    before = path.read_text()
    time.sleep(1)
    assert path.read_text() == before


def test_too_little_memory_is_one_line() -> None:
    body = """
import resource, sys
import numpy as np
from stages.common.stage import run_stage
def main() -> str:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
    np.ones(1 << 32)
sys.argv = ["stage"]
run_stage(main)
"""
    done = run([sys.executable, "-c", body], ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("error: memory: Unable to allocate 32.0 GiB")
    assert done.stderr.count("\n") == 1


def disturbed(clone: Path, seconds: float, number: signal.Signals, gib: float = 0) -> None:
    """Start `dvc repro`, with so much memory if any is given, and send it a signal."""

    def limit() -> None:
        if gib:
            resource.setrlimit(resource.RLIMIT_AS, (int(gib * 2**30),) * 2)

    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=clone,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=limit,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    # To DVC alone, which may leave its stage behind, and passes over a SIGINT: it ends the run.
    process.send_signal(number)
    process.wait(900)
    time.sleep(1)
    # DVC may have been writing one of these files, which docs/trust.md warns of.
    for name in (".dvc/tmp/rwlock", "dvc.lock"):
        if run([sys.executable, "-m", "dvc", "status"], clone).returncode:
            (clone / name).unlink(missing_ok=True)


@pytest.mark.long
def test_a_run_that_is_disturbed_again_and_again_ends_like_another(
    finished_run: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "small", "size=8m") as small:
        clone = small / "clone"
        run(["git", "clone", "-q", str(finished_run), str(clone)], tmp_path)
        lock = (clone / "dvc.lock").read_bytes()
        (clone / "dvc.lock").unlink()
        dvc(clone, "repro", ok=False)  # the disk is full
        run(["mount", "-o", "remount,size=2g", str(small)], tmp_path)
        disturbed(clone, 120, signal.SIGTERM, gib=1.0)
        draw = random.Random(1)
        for number in [signal.SIGKILL, signal.SIGTERM, signal.SIGINT] * 5:
            disturbed(clone, draw.uniform(2, 20), number)
        dvc(clone, "repro")
        assert (clone / "dvc.lock").read_bytes() == lock
        assert run(["git", "status", "--porcelain"], clone).stdout == ""
        assert not list((clone / "data").rglob("*.tmp"))


@pytest.mark.long
def test_two_runs_at_once_do_no_harm(finished_run: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run(["git", "clone", "-q", str(finished_run), str(clone)], tmp_path)
    lock = (clone / "dvc.lock").read_bytes()
    (clone / "dvc.lock").unlink()
    both = []
    for _ in range(2):
        command = [sys.executable, "-m", "dvc", "repro"]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        both.append(subprocess.Popen(command, cwd=clone, **streams))
        time.sleep(3)
    for process in both:
        text, _ = process.communicate()
        assert "Traceback" not in text
        # DVC refuses to write what another of its processes works on.
        assert process.returncode == 0 or re.search(r"(is busy|Unable to acquire lock)", text), text
    dvc(clone, "repro")
    assert (clone / "dvc.lock").read_bytes() == lock
    assert run(["git", "status", "--porcelain"], clone).stdout == ""
