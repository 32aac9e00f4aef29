"""Run a stage from the command line, report what a user can mend, write files whole."""

import argparse
import glob
import inspect
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    _end_with_dvc()
    try:
        summary = main(**arguments)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except MemoryError as error:
        print(f"error: memory: {error}; see `positives.sample_users`", file=sys.stderr)
        sys.exit(1)
    variant = [value for value in arguments.values() if isinstance(value, str)]
    name = "@".join([Path(sys.argv[0]).stem, *variant])
    print(f"{name}: {summary}, {time.perf_counter() - started:.1f} s", file=sys.stderr)


def _end_with_dvc() -> None:
    """Under DVC, end this process within a second of DVC's death: nobody waits for it any more."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if "DVC_STAGE" in os.environ:
        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` only if the block succeeds.

    The block writes a file, or makes a folder, there; what stood at `path` is replaced. What a
    killed process has left beside it is removed.

    Raises:
        StageError: The disk is full, or the folder is not to be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            _remove(left)
        yield temporary
        if temporary.is_dir():
            # os.replace cannot put a folder in the place of one that is not empty.
            shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    except OSError as error:
        where = error.filename if error.filename not in (None, str(temporary)) else path
        reason = error.strerror or error
        raise StageError(f"{where}: {reason}; make room, or correct the rights") from None
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    """Remove a file or a folder that may not be there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        with suppress(OSError):
            path.unlink()
