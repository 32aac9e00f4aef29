"""Helpers for tests of bundles."""

import contextlib
import shutil
from pathlib import Path

from tests.conftest import edit_params
from tests.tiny_chain import export_bundle


def file_contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file below `folder`, by relative path."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def export_ranker(run: Path, ranker: str, folder: Path) -> Path:
    """Export the bundle of another ranker of the same run, in a copy of it below `folder`."""
    copy = Path(shutil.copytree(run, folder / "run"))
    edit_params(copy, export__ranker=ranker)
    with contextlib.chdir(copy):
        export_bundle(Path("data/bundle"))
    return copy / "data" / "bundle"
