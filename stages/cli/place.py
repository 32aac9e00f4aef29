"""The place of a stage in a run of DVC, and the seconds that each stage took last time.

The seconds are in `.dvc/tmp`, which Git and DVC ignore: one small file for each stage, so that
stages of two runs can end at the same time. Nothing else reads them.
"""

import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PIPELINE, PARAMS = Path("dvc.yaml"), Path("params.yaml")
SECONDS = Path(".dvc") / "tmp" / "stage_seconds"
EXPERIMENTS = (".dvc", "tmp", "exps")  # below it are the copies in which DVC runs experiments
# A stage of another name, whose block has a name that the stage refuses, is neither a file here
# nor printed.
NAME = re.compile(r"[A-Za-z]\w*(@[A-Za-z]\w*)?", re.ASCII)
STAGE = re.compile(r"^  (\w+):\n(?:    foreach: \$\{(\w+)\}\n)?", re.MULTILINE)


def stage_names(pipeline: str, params: Mapping[str, Any]) -> list[str]:
    """Return the names of all stages, in the order in which DVC runs them.

    This is the order of dvc.yaml, in which each stage comes after those that it needs. The text is
    searched instead of parsed, which would take ten times as long as all else here.

    Args:
        pipeline: The text of dvc.yaml.
        params: The sections of params.yaml.
    """
    sections = re.split(r"^(?=\w)", pipeline, flags=re.MULTILINE)
    stages = next((text for text in sections if text.startswith("stages:")), "")
    names = []
    for stage, section in STAGE.findall(stages):
        names += [f"{stage}@{block}" for block in params[section]] if section else [stage]
    return names


def read_stage_names() -> list[str]:
    """Return `stage_names` of the current folder; none if its files are missing or damaged."""
    try:
        params = YAML(typ="safe", pure=True).load(PARAMS.read_text(encoding="utf-8"))
        return stage_names(PIPELINE.read_text(encoding="utf-8"), params)
    except (OSError, ValueError, KeyError, TypeError, YAMLError):
        return []


def seconds_folder(folder: Path) -> Path | None:
    """Return where the seconds of a run in `folder` are; None if it is no repository of DVC.

    An experiment in a copy of the repository shares them with the repository.
    """
    parts = folder.parts
    for n in range(len(parts) - len(EXPERIMENTS)):
        if parts[n : n + len(EXPERIMENTS)] == EXPERIMENTS:
            folder = Path(*parts[:n])
            break
    return folder / SECONDS if (folder / ".dvc").is_dir() else None


def read_seconds(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """Return the seconds of the stages among `names` that have a file that can be read."""
    seconds = {}
    for name in filter(NAME.fullmatch, names):
        with suppress(OSError, ValueError):
            value = float((folder / name).read_text(encoding="ascii"))
            if math.isfinite(value) and value >= 0:
                seconds[name] = value
    return seconds


def write_seconds(folder: Path, name: str, seconds: float) -> None:
    """Write the seconds of the stage `name`, or nothing if the disk is full or read-only."""
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(f"{seconds:.1f}\n", encoding="ascii")
        os.replace(temporary, folder / name)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def format_duration(seconds: float) -> str:
    """Return seconds as a text such as `0.4 s`, `86 s`, `12 min` or `2.5 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


def describe_place(name: str, names: Sequence[str], seconds: Mapping[str, float]) -> str:
    """Return a line with the number of the stage `name`, and the time left at most.

    DVC skips stages whose inputs are as before, which nobody knows at this time: the time left is
    that of a run that skips none.

    Args:
        name: One of `names`.
        names: The names of all stages, in the order of the run.
        seconds: The seconds of the last run of some of them.
    """
    number = names.index(name)
    line = f"stage {number + 1} of {len(names)}: {name}"
    if name in seconds:
        line += f", last time {format_duration(seconds[name])}"
    rest = names[number:]
    times = [seconds[stage] for stage in rest if stage in seconds]
    if times:
        line += f"; at most {format_duration(sum(times))} left"
        if unknown := len(rest) - len(times):
            line += f", not counting {unknown} of unknown time"
    return line


def process_seconds() -> float:
    """Return the age of this process, with the imports that came first."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - start)


def dvc_stage() -> str | None:
    """Return the name of the stage that DVC runs in this process.

    It is None without DVC, and if it does not match `NAME`.
    """
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    return name if NAME.fullmatch(name) else None


def print_place() -> None:
    """Print `describe_place` of the stage that DVC runs in this process; nothing without DVC."""
    name = dvc_stage()
    if name and name in (names := read_stage_names()):
        folder = seconds_folder(Path.cwd())
        seconds = read_seconds(folder, names) if folder else {}
        print(describe_place(name, names, seconds), file=sys.stderr)


def store_seconds() -> None:
    """Store the seconds of the stage that DVC runs in this process, at its end."""
    name, folder = dvc_stage(), seconds_folder(Path.cwd())
    if name and folder:
        with suppress(OSError, ValueError, IndexError):
            write_seconds(folder, name, process_seconds())
