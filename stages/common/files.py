"""Write JSON, CSV and array files whole, with equal bytes for equal data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages.common.stage import StageError, whole_file


def write_json(value: Any, path: Path) -> None:
    """Indented JSON, keys in the given order, floats rounded to six digits."""
    rounded = json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """What `write_json` wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise StageError(f"{path}: missing or no JSON; run `dvc repro`") from None


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """CSV with floats of six digits, for plots and people."""
    with whole_file(path) as temporary:
        table.write_csv(temporary, float_precision=6)


def write_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    """A `.npz` file; loading it never runs code."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        raise StageError(f"{path}: not found; run `dvc repro`") from None
    except (ValueError, OSError, EOFError) as error:
        raise StageError(f"{path}: cannot be read ({error}); delete it and repro") from None
