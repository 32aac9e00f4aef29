"""Stage: check `data.source` before anything is fetched or read."""

import json
from pathlib import Path

from stages.common.params import read_value
from stages.common.stage import StageError, run_stage, whole_file


def describe(source: str, sources: Path) -> dict[str, str]:
    """What `source` is: a built-in of the folder `sources`, or a folder with the user's files.

    Raises:
        StageError: It is neither.
    """
    path = sources / source  # an absolute `source` stands for itself
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
    """Write what the source is to a small file that the download depends on."""
    source = read_value("data.source", str)
    found = describe(source, sources)
    with whole_file(description) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return f"{source}, {found['kind']}"


if __name__ == "__main__":
    run_stage(main)
