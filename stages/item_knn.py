"""Stage: item-based nearest neighbours with BM25 weights (a baseline and a generator)."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.sparse as sp

from stages.common.params import Range, load_params
from stages.common.stage import run_stage
from stages.item_similarity import gram, run
from stages.top_k import top_columns


@dataclasses.dataclass(frozen=True)
class Params:
    """`k1` and `b` are BM25's: how fast counts saturate, how much popularity is discounted."""

    neighbours: Annotated[int, Range(1, 100_000)]
    k1: Annotated[float, Range(0, 1000)]
    b: Annotated[float, Range(0, 1)]
    max_movies: Annotated[int, Range(1, 200_000)]


def bm25(liked: sp.csr_array, k1: float, b: float) -> sp.csr_array:
    """Weight likings as BM25 does words (Robertson and Zaragoza 2009).

    A movie is a document, a user a word of it: users who like much tell little (idf), and
    movies that many like are discounted (document length).

    Args:
        liked: [users, movies] ones.
    """
    idf = np.log(liked.shape[1]) - np.log1p(liked.sum(axis=1))
    length = liked.sum(axis=0)
    saturated = (k1 + 1) / (k1 * (1 - b + b * length / length.mean()) + 1)
    return (sp.diags_array(idf) @ liked @ sp.diags_array(saturated)).tocsr().astype(np.float32)


def neighbour_weights(liked: sp.csr_array, params: Params) -> np.ndarray:
    """[movies, movies] float32: each liked movie's `neighbours` most similar ones, else 0."""
    similar = gram(bm25(liked, params.k1, params.b), np.float32)
    np.fill_diagonal(similar, 0)
    columns, best = top_columns(similar, params.neighbours)
    weights = np.zeros_like(similar)
    np.put_along_axis(weights, columns, best, axis=1)
    return weights


def main(train: Path, val: Path, histories: Path, model: Path, recommendations: Path) -> str:
    """Write the weights and the recommendations of every fold."""
    params = load_params(Params, "item_knn")
    fit = functools.partial(neighbour_weights, params=params)
    return run(fit, params.max_movies, (train, val, histories), model, recommendations)


if __name__ == "__main__":
    run_stage(main)
