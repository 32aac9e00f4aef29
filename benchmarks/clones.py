"""Clones of the repository, in which programs run the committed pipeline."""

import subprocess
import sys
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints in `folder`."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def clone(folder: Path) -> None:
    """Clone the repository of the working directory into `folder`, unless that is a clone of it.

    Changes that are not committed are not in a clone, so the files with such changes are named.

    Raises:
        SystemExit: The folder is there, and its commit is not that of the repository.
    """
    here = Path()
    if changed := git(here, "diff", "--name-only", "HEAD").splitlines():
        print(f"{', '.join(changed)}: changed, not committed: not in {folder}", file=sys.stderr)
    if not folder.exists():
        git(here, "clone", "--quiet", ".", str(folder.resolve()))
        return
    theirs, ours = (git(place, "rev-parse", "HEAD")[:12] for place in (folder, here))
    if theirs != ours:
        raise SystemExit(f"{folder}: is at commit {theirs}, not {ours}; delete it, or name another")
