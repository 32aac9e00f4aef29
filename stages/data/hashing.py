"""A seeded hash that does not depend on the order of rows, and tables split by it."""

import numpy as np
import polars as pl

SPLIT_SEED = 0  # any constant will do, but shards of different tables must agree


def splitmix64(high: np.ndarray, low: np.ndarray, seed: int) -> np.ndarray:
    """Hash pairs of ids to uint64: the finaliser of SplitMix64 (Steele et al. 2014)."""
    pair = (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    with np.errstate(over="ignore"):
        z = pair + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def split_by_user(table: pl.DataFrame, parts: int) -> list[pl.DataFrame]:
    """Split `table` by a hash of user_id, so that a user's rows are in one part, in their order."""
    users = table["user_id"].to_numpy()
    hashes = splitmix64(users, np.zeros_like(users), SPLIT_SEED)
    part = (hashes % np.uint64(parts)).astype(np.int64)
    rows = table[np.argsort(part, kind="stable")]
    ends = np.cumsum(np.bincount(part, minlength=parts))
    return [rows[start:end] for start, end in zip(np.append(0, ends[:-1]), ends)]
