"""Rows of the Markdown tables that the benchmarks print."""

import numpy as np

from stages.evaluation.bootstrap import paired_intervals

RESAMPLES = 2000  # bootstrap samples of the users for an interval


def header(name: str, columns: list[str]) -> str:
    """Return the head of a table whose first column is a text and the others are figures."""
    return f"| {name} | {' | '.join(columns)} |\n| --- |" + " ---: |" * len(columns)


def figures_row(name: str, figures: list[float]) -> str:
    """Return a row of figures with four decimals."""
    return f"| {name} | " + " | ".join(f"{figure:.4f}" for figure in figures) + " |"


def interval_text(values: np.ndarray) -> str:
    """Return the mean of [users] values with its 95% interval."""
    low, high = paired_intervals(values[:, None], RESAMPLES, np.random.default_rng(0))
    return f"{values.mean():.4f} ({low[0]:.4f} to {high[0]:.4f})"


def change_text(values: np.ndarray, before: np.ndarray | None) -> str:
    """Return the mean change of [users] values with its 95% interval; empty without `before`."""
    if before is None:
        return ""
    difference = values - before
    low, high = paired_intervals(difference[:, None], RESAMPLES, np.random.default_rng(0))
    return f"{difference.mean():+.4f} ({low[0]:+.4f} to {high[0]:+.4f})"
