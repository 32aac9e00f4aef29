"""Stage: check `data.source` before anything is downloaded or read."""

import json
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
    path = sources / source  # `source` itself if it is absolute
    if path.is_file() and not Path(source).is_absolute():
        return {"source": source, "kind": "built-in"}
    if path.is_dir() and source:
        return {"source": source, "kind": "folder"}
    names = ", ".join(sorted(p.name for p in sources.iterdir() if p.is_file()))
    hint = f"use one of {names}, or the absolute path of a folder"
    if source and Path(source).is_dir():
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
