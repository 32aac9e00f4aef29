"""Write JSON, CSV and array files whole, with equal bytes for equal data."""

import json
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


def write_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    """A `.npz` file; loading it never runs code."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays that `write_arrays` wrote."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        raise StageError(f"{path}: not found; run `dvc repro`") from None
    except (ValueError, OSError, EOFError) as error:
        raise StageError(f"{path}: cannot be read ({error}); delete it and repro") from None
