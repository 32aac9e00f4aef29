"""Samples without replacement whose members have given probabilities."""

import numpy as np


def inclusion_probabilities(sizes: np.ndarray, count: int) -> np.ndarray:
    """[n] probabilities proportional to `sizes`, but at most 1, that sum to `count`.

    For example, `sizes` [6, 1, 1] and `count` 2 give [1, 0.5, 0.5].

    Args:
        sizes: [n] positive numbers, n >= `count`.
        count: Size of the sample.
    """
    is_certain = np.zeros(len(sizes), dtype=bool)
    while True:
        share = (count - is_certain.sum()) / max(sizes[~is_certain].sum(), 1e-300)
        reaches_one = ~is_certain & (share * sizes >= 1)
        if not reaches_one.any():
            return np.where(is_certain, 1.0, share * sizes)
        is_certain |= reaches_one


def systematic_sample(
    probabilities: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw [count] different indices, each with its inclusion probability (Madow 1949)."""
    order = rng.permutation(len(probabilities))
    ends = np.cumsum(probabilities[order])
    picks = np.searchsorted(ends, rng.random() + np.arange(count), side="right")
    return order[picks.clip(max=len(order) - 1)]
