"""Damaged copies of a file's content."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stages.common.stage import StageError


def damaged(content: bytes, truncations: int, flips: int) -> Iterator[bytes]:
    """Yield `content` cut at some places, evenly spread, then with single flipped bits."""
    for end in np.linspace(0, len(content) - 1, truncations, dtype=int):
        yield content[:end]
    rng = np.random.default_rng(len(content))
    for place in rng.integers(0, len(content), flips):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        yield bytes(changed)


def assert_damage_is_refused(path: Path, run: Callable[[], object]) -> None:
    """Damage the file `path` of a folder with SHA256SUMS; `run` has to refuse every damaged one."""
    for data in damaged(path.read_bytes(), 5, 20):
        path.write_bytes(data)
        with pytest.raises(StageError, match=rf"^{path}: does not match SHA256SUMS; delete the"):
            run()
