"""A seeded hash that does not depend on the order of rows."""

import numpy as np


def mix(high: np.ndarray, low: np.ndarray, seed: int) -> np.ndarray:
    """A fixed hash of pairs of ids, uint64: the finaliser of SplitMix64 (Steele et al. 2014)."""
    pair = (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    with np.errstate(over="ignore"):
        z = pair + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
