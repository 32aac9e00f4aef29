"""A seeded hash that does not depend on the order of rows, and tables parted by it."""

import numpy as np
import polars as pl

SEED = 0  # of the parts of tables; any one will do, but the same for all


def mix(high: np.ndarray, low: np.ndarray, seed: int) -> np.ndarray:
    """A fixed hash of pairs of ids, uint64: the finaliser of SplitMix64 (Steele et al. 2014)."""
    pair = (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    with np.errstate(over="ignore"):
        z = pair + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def split(table: pl.DataFrame, parts: int) -> list[pl.DataFrame]:
    """Part `table` by a hash of user_id; rows keep their order. Equal users, equal part."""
    users = table["user_id"].to_numpy()
    part = (mix(users, np.zeros_like(users), SEED) % np.uint64(parts)).astype(np.int64)
    rows = table[np.argsort(part, kind="stable")]
    ends = np.cumsum(np.bincount(part, minlength=parts))
    return [rows[start:end] for start, end in zip(np.append(0, ends[:-1]), ends)]
