"""Copy a sample of large raw files, so that `stages.data` reads them within a second.

A text file is cut at line breaks: its start, and blocks of lines from all over the rest. Where
fields may be in quotes, a block could start within one, so the sample is the start alone.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

WHOLE_FILE = 8 << 20  # bytes; smaller files are no samples
HEAD, BLOCK, NUM_BLOCKS = 2 << 20, 1 << 18, 12  # bytes of text
HEAD_ROWS, BLOCK_ROWS = 50_000, 5_000  # of parquet
NEWLINE, QUOTE = b'\n"'


class Sample(NamedTuple):
    """A file of a sample."""

    size: int
    """Bytes of the whole file."""

    share: float
    """The share of the file in the sample, by bytes or rows; 1 for the whole file."""

    head_rows: int
    """The number of rows or lines that have their place in the file; for the whole file, all."""


def sample_files(folder: Path, names: Iterable[str], target: Path) -> dict[str, Sample]:
    """Write the files `names` of `folder` into the folder `target`; whole ones are links.

    A file that cannot be sampled is a link, too: its reader has the better message.
    """
    return {name: _sample_file(folder / name, target / name) for name in names}


def _sample_file(path: Path, target: Path) -> Sample:
    size = path.stat().st_size
    if size > WHOLE_FILE:
        if path.suffix != ".parquet":
            return _sample_text(path, target, size)
        try:
            return _sample_parquet(path, target, size)
        except (pl.exceptions.PolarsError, OSError):
            pass
    target.symlink_to(path.resolve())
    return Sample(size, 1.0, size)


def _sample_text(path: Path, target: Path, size: int) -> Sample:
    with path.open("rb") as file:
        head = file.read(HEAD)
        blocks = []
        for offset in np.linspace(HEAD, size - BLOCK, NUM_BLOCKS, dtype=np.int64):
            file.seek(int(offset))
            block = file.read(BLOCK)
            blocks.append(block[block.find(b"\n") + 1 : block.rfind(b"\n") + 1])
    if any(b'"' in part for part in [head, *blocks]):
        blocks = []
    head = head[: _last_record_end(head)]
    text = b"".join([head, *blocks])
    target.write_bytes(text)
    return Sample(size, len(text) / size, head.count(b"\n"))


def _last_record_end(text: bytes) -> int:
    """Return the end of the last line that has an even number of quotes before it."""
    data = np.frombuffer(text, dtype=np.uint8)
    is_outside = np.cumsum(data == QUOTE) % 2 == 0
    ends = np.flatnonzero((data == NEWLINE) & is_outside)
    return int(ends[-1]) + 1 if len(ends) else len(text)


def _sample_parquet(path: Path, target: Path, size: int) -> Sample:
    frame = pl.scan_parquet(path)
    rows = frame.select(pl.len()).collect().item()
    head = frame.head(HEAD_ROWS)
    offsets = range(HEAD_ROWS, rows - BLOCK_ROWS, max((rows - HEAD_ROWS) // NUM_BLOCKS, BLOCK_ROWS))
    blocks = [frame.slice(offset, BLOCK_ROWS) for offset in offsets]
    table = pl.concat(pl.collect_all([head, *blocks]))
    table.write_parquet(target)
    return Sample(size, table.height / max(rows, 1), min(HEAD_ROWS, rows))
