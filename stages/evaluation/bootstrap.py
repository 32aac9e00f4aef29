"""Confidence intervals and p-values of means over users."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.stats import norm


def paired_intervals(
    values: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return 95% percentile-bootstrap intervals of the column means of `values` (Efron 1979).

    Every resample draws users with replacement, and uses the same users for all columns. A column
    may hold a system's metric, or the difference between two systems. A user whose value is NaN
    does not count in that column.

    Args:
        values: [users, n]; one row per user.
        resamples: The number of bootstrap samples.
        rng: Draws the users.

    Returns:
        [n] lower and [n] upper ends.
    """
    users, is_valid = len(values), ~np.isnan(values)
    weights = None if is_valid.all() else is_valid.astype(np.float64)
    values = values if weights is None else np.where(is_valid, values, 0)
    means = np.empty((resamples, values.shape[1]))
    for sample_means in means:
        counts = np.bincount(rng.integers(0, users, users), minlength=users)
        size = users if weights is None else np.maximum(counts @ weights, 1)
        sample_means[:] = counts @ values / size
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def mean_intervals(
    tables: Mapping[str, pl.DataFrame], metrics: list[str], resamples: int, seed: int
) -> pl.DataFrame:
    """Return the mean over users of every system's metrics, with 95% intervals.

    All systems share the bootstrap samples of the users, so their intervals move together. Values
    that are NaN do not count.

    Args:
        tables: By system a row per user with the `metrics`, for the same users in the same order.
        metrics: Names of columns.
        resamples: The number of bootstrap samples.
        seed: The seed of the samples.

    Returns:
        system, metric, value (the mean), low, high.
    """
    names = [(system, metric) for system in tables for metric in metrics]
    values = np.column_stack([tables[system][metric].to_numpy() for system, metric in names])
    low, high = paired_intervals(values, resamples, np.random.default_rng(seed))
    is_valid = ~np.isnan(values)
    means = np.where(is_valid, values, 0).sum(axis=0) / np.maximum(is_valid.sum(axis=0), 1)
    labels = pl.DataFrame(names, schema=["system", "metric"], orient="row")
    return labels.with_columns(value=means, low=low, high=high)


def paired_p_values(differences: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of the hypothesis that a mean difference is 0.

    From the normal approximation of the mean: percentiles of a few thousand resamples cannot give
    the small p-values that a correction for many comparisons asks for.

    Args:
        differences: [users, n] differences between two systems, one row per user.

    Returns:
        [n] p-values; 1 where all differences are 0.
    """
    mean, users = differences.mean(axis=0), len(differences)
    error = differences.std(axis=0, ddof=1) / np.sqrt(users) if users > 1 else np.zeros_like(mean)
    z = np.divide(np.abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    return 2 * norm.sf(z)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values for the number of comparisons (Holm 1979).

    The smallest of n is multiplied by n, the next by n - 1, and so on; an adjusted value is at
    least as large as the one before it. For example:

        p-values  [.01, .04, .03]
        ordered   [.01, .03, .04] * [3, 2, 1] = [.03, .06, .04]
        adjusted  [.03, .06, .06]
    """
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted
