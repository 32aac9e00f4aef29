"""Print to any encoding, and to a pipe that may close, without a traceback."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def standard_output() -> Iterator[None]:
    """Handle what can go wrong with standard output in the block, which uses no other pipe.

    A character that the encoding lacks is written as its escape, such as `\\xe9`. If the reader
    has closed the pipe (`... | head -1`), the process ends without a message and with code 1, as
    Python's documentation has it for EPIPE. Any other failure, such as a full disk, is one line.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # None: it was closed from the start
                sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # a file's
            raise
        # Python flushes the stream once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        sys.exit(f"error: standard output: {error.strerror}; make room, or print elsewhere")
