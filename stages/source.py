"""Stage: check `data.source` before anything is downloaded or read."""

import json
import os
from pathlib import Path

from stages.common.params import read_value
from stages.common.stage import StageError, atomic_write, run_stage


def describe(source: str, sources: Path) -> dict[str, str]:
    """Return the name and the kind of `source`.

    It is the name of a built-in source, which is a file of the folder `sources`, or a folder with
    the user's files.

    Raises:
        StageError: It is neither.
    """
    names = sorted(p.name for p in sources.iterdir() if p.is_file())
    if source in names:
        return {"source": source, "kind": "built-in"}
    # `os.path` takes any text, where `Path.is_dir` fails for a long one.
    if source and os.path.isdir(sources / source):  # `source` itself if it is absolute
        return {"source": source, "kind": "folder"}
    hint = f"use one of {', '.join(names)}, or the absolute path of a folder"
    if source and os.path.isdir(source):
        hint = f"write its absolute path, {Path(source).resolve()}"
    raise StageError(f"data.source: {source!r} is not known; {hint}")


def main(sources: Path, description: Path) -> str:
    """Write the description of the source, a small file that the download depends on."""
    source = read_value("data.source", str)
    fields = describe(source, sources)
    with atomic_write(description) as temporary:
        temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    return f"{source}, {fields['kind']}"


if __name__ == "__main__":
    run_stage(main)
