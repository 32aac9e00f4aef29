"""Run a stage from the command line, report errors that a user can mend, write files atomically."""

import argparse
import dataclasses
import glob
import inspect
import os
import re
import shutil
import sys
import threading
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stages.cli import option_help
from stages.cli.place import print_place, store_seconds
from stages.common.console import standard_output
from stages.common.instructions import why_unpinned

# The name of a block of params.yaml. It becomes part of paths and names a module.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
NAME_RULE = "use letters, digits and _ in the name, a letter first"


class StageError(Exception):
    """An error that the user can mend: `<file or key>: <what is wrong>; <what to do>`."""


def run_stage(main: Callable[..., str]) -> None:
    """Call `main` with the command line's arguments, then exit.

    A `str` parameter of `main` is a positional argument: the name of a block of params.yaml, or
    `<stage>@<name>`, as DVC has it in `$DVC_STAGE`. A `Path` is the option `--name PATH`, and a
    dataclass stands for one option per field. All are required. `main` returns a summary of its
    input and output, which is printed with the time taken; under DVC, the stage's place in the run
    is printed first. A `StageError` is printed as one line
    and ends the process with code 1. Any other exception is a bug and keeps its traceback.
    """
    start = time.perf_counter()
    stage = Path(sys.argv[0]).stem
    types = typing.get_type_hints(main)
    types.pop("return", None)
    with standard_output():  # --help prints there; a stage itself prints to standard error only
        values = vars(stage_parser(main, stage).parse_args())
    _exit_with_dvc()
    print_place()
    try:
        arguments = {name: _argument(name, kind, values) for name, kind in types.items()}
        summary = main(**arguments)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except MemoryError as error:
        print(f"error: memory: {error}; see `positives.sample_users`", file=sys.stderr)
        sys.exit(1)
    variant = [value for value in arguments.values() if isinstance(value, str)]
    name = "@".join([stage, *variant])
    seconds = f"{time.perf_counter() - start:.1f} s"
    print(f"{name}: {summary}, {seconds}", file=sys.stderr)
    store_seconds()
    if note := why_unpinned(os.environ, os.uname().machine):
        print(note, file=sys.stderr)


def stage_parser(main: Callable[..., str], stage: str) -> argparse.ArgumentParser:
    """Return the parser of the command line of a stage, whose parameters are those of `main`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{stage}", description=inspect.getdoc(main)
    )
    for name, kind in typing.get_type_hints(main).items():
        if name == "return":
            continue
        if kind is str:
            parser.add_argument(name, help=option_help.NAME)
        for option, option_type in _options(name, kind).items():
            parser.add_argument(
                f"--{option.replace('_', '-')}",
                dest=option,
                type=option_type,
                required=True,
                metavar="PATH",
                help=option_help.option_help(stage, option),
            )
    return parser


def _options(name: str, kind: Any) -> dict[str, Any]:
    """Return the options, by name, that one parameter of a stage's `main` stands for."""
    if kind is str:
        return {}
    return typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {name: kind}


def _argument(name: str, kind: Any, values: dict[str, Any]) -> Any:
    """Return the value of one parameter of `main` from the parsed command line.

    Raises:
        StageError: A name has other characters than `NAME`.
    """
    if kind is str:
        block = values[name].partition("@")[2] or values[name]
        if not NAME.fullmatch(block):
            raise StageError(f"{values[name]!r}: is no name of a block; {NAME_RULE}")
        return block
    if dataclasses.is_dataclass(kind):
        return kind(**{option: values[option] for option in _options(name, kind)})
    return values[name]


def _exit_with_dvc() -> None:
    """Under DVC, end this process within a second of DVC's end: nobody waits for its result."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if "DVC_STAGE" in os.environ:
        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` only if the block succeeds.

    The block creates a file or a folder there, which replaces the one at `path`. Temporary files
    that a killed process has left are removed.

    Raises:
        StageError: The disk is full, or the folder is not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            _remove(leftover)
        yield temporary
        if temporary.is_dir():
            # os.replace cannot replace a folder that is not empty.
            shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    except OSError as error:
        where = error.filename if error.filename not in (None, str(temporary)) else path
        reason = error.strerror or error
        raise StageError(f"{where}: {reason}; make room, or correct the rights") from None
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        with suppress(OSError):
            path.unlink()
