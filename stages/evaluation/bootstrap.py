"""Confidence intervals of means over users."""

import numpy as np


def paired_intervals(
    values: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return 95% percentile-bootstrap intervals of the column means of `values` (Efron 1979).

    Every resample draws users with replacement, and uses the same users for all columns. A column
    may hold a system's metric, or the difference between two systems.

    Args:
        values: [users, n]; one row per user.
        resamples: The number of bootstrap samples.
        rng: Draws the users.

    Returns:
        [n] lower and [n] upper ends.
    """
    users = len(values)
    means = np.empty((resamples, values.shape[1]))
    for sample_means in means:
        counts = np.bincount(rng.integers(0, users, users), minlength=users)
        sample_means[:] = counts @ values / users
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high
