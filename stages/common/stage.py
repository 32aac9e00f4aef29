"""Run a stage from the command line, report what a user can mend, write files whole."""

import argparse
import inspect
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class StageError(Exception):
    """Something the user can mend: `<file or key>: <what is wrong>; <what to do>`."""


def run_stage(main: Callable[..., str]) -> None:
    """Call `main` with one command-line argument for each of its parameters, then exit.

    A `str` parameter is positional, a `Path` is `--name PATH`; all are required. What `main`
    returns, a few words on what came in and what went out, is printed with the time it took. A
    `StageError` is printed as one line and ends the process with code 1; any other exception is a
    bug and keeps its traceback.
    """
    parser = argparse.ArgumentParser(description=inspect.getdoc(main))
    for name, parameter in inspect.signature(main).parameters.items():
        if parameter.annotation is str:
            parser.add_argument(name)
        else:
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, dest=name, type=parameter.annotation, required=True)
    started = time.perf_counter()
    arguments = vars(parser.parse_args())
    try:
        summary = main(**arguments)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    variant = [value for value in arguments.values() if isinstance(value, str)]
    name = "@".join([Path(sys.argv[0]).stem, *variant])
    print(f"{name}: {summary}, {time.perf_counter() - started:.1f} s", file=sys.stderr)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` only if the block succeeds.

    The block writes a file, or makes a folder, there; what stood at `path` is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.is_dir():
            # os.replace cannot put a folder in the place of one that is not empty.
            shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
