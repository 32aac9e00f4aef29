"""Stage: EASE, an item-to-item linear model in closed form (a generator)."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from stages.common.params import Range, load_params
from stages.common.stage import run_stage
from stages.item_similarity import gram, run


@dataclasses.dataclass(frozen=True)
class Params:
    """`regularisation`: the L2 weight; `max_movies`: the most liked ones that are modelled."""

    regularisation: Annotated[float, Range(1e-6, 1e9)]
    max_movies: Annotated[int, Range(1, 50_000)]


def ease_weights(liked: sp.csr_array, regularisation: float) -> np.ndarray:
    """[movies, movies] float32 with a zero diagonal that best rebuild `liked` from itself.

    With P the inverse of the regularised Gram matrix: -P[i, j] / P[j, j] (Steck 2019).
    """
    shared = gram(liked, np.float64)
    shared[np.diag_indices_from(shared)] += regularisation
    inverse = scipy.linalg.inv(shared, assume_a="pos", overwrite_a=True)
    # Row after row in memory: sparse rows are multiplied with them.
    weights = np.divide(
        inverse, -np.diag(inverse), dtype=np.float32, casting="same_kind", order="C"
    )
    np.fill_diagonal(weights, 0)
    return weights


def main(train: Path, val: Path, histories: Path, model: Path, recommendations: Path) -> str:
    """Write the weights and the recommendations of every fold."""
    params = load_params(Params, "ease")
    fit = functools.partial(ease_weights, regularisation=params.regularisation)
    return run(fit, params.max_movies, (train, val, histories), model, recommendations)


if __name__ == "__main__":
    run_stage(main)
