"""Damaged copies of a file's content."""

from collections.abc import Iterator

import numpy as np


def damaged(content: bytes, truncations: int, flips: int) -> Iterator[bytes]:
    """Yield `content` cut at some places, evenly spread, then with single flipped bits."""
    for end in np.linspace(0, len(content) - 1, truncations, dtype=int):
        yield content[:end]
    rng = np.random.default_rng(len(content))
    for place in rng.integers(0, len(content), flips):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        yield bytes(changed)
