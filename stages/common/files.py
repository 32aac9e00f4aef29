"""Write JSON, CSV and array files whole, with equal bytes for equal data."""

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages.common.stage import StageError, atomic_write


def write_json(value: Any, path: Path) -> None:
    """Indented JSON, keys in the given order, floats rounded to six digits."""
    rounded = json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file that `write_json` wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise StageError(f"{path}: missing or no JSON; run `dvc repro`") from None


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """CSV with floats of six digits, for plots and people."""
    with atomic_write(path) as temporary:
        table.write_csv(temporary, float_precision=6)


def read_csv(path: Path) -> pl.DataFrame:
    """Read a CSV file that `write_csv` wrote."""
    try:
        return pl.read_csv(path)
    except (FileNotFoundError, pl.exceptions.PolarsError):
        raise StageError(f"{path}: missing or no table; run `dvc repro`") from None


MAX_NPY_HEADER = 1024  # bytes, of an array without fields


def write_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    """A `.npz` file; loading it never runs code.

    `np.savez` asks for ZIP64, for which releases of Python write other bytes (gh-103861). A member
    whose size is known before has ZIP64 only if it needs it.
    """
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            array, member = np.asarray(array), zipfile.ZipInfo(f"{name}.npy")
            member.file_size = array.nbytes + MAX_NPY_HEADER
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _check_archive(path: Path) -> None:
    """Compare a zip file's members with their checksums, and their number with its last record.

    Raises:
        ValueError, or another error of `_DAMAGE`: The file is damaged.
    """
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        if name := archive.testzip():
            raise ValueError(f"{name!r} is damaged")
        file.seek(-12, os.SEEK_END)
        # zipfile does not look at this number, so a damaged directory may hide members.
        if int.from_bytes(file.read(2), "little") != len(archive.infolist()):
            raise ValueError("its directory is damaged")


# All that zipfile and NumPy raise for a file that is damaged or none of theirs.
_DAMAGE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays that `write_arrays` wrote.

    Raises:
        StageError: The file is missing or damaged.
    """
    try:
        _check_archive(path)  # first, because NumPy believes a damaged header
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        raise StageError(f"{path}: not found; run `dvc repro`") from None
    except _DAMAGE as error:
        raise StageError(f"{path}: cannot be read ({error}); delete it and repro") from None
