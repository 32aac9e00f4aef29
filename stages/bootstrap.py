"""How far a mean over users may be off by chance."""

import numpy as np


def paired_intervals(
    values: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile-bootstrap intervals of the means of [users, n] values (Efron 1979).

    All columns are measured on the same users, so users are drawn, not values: a column may
    be one system's metric, or the difference of two systems.

    Returns:
        [n] lower and [n] upper ends.
    """
    users = len(values)
    means = np.empty((resamples, values.shape[1]))
    for sample in means:
        times_drawn = np.bincount(rng.integers(0, users, users), minlength=users)
        sample[:] = times_drawn @ values / users
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high
