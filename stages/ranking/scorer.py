"""Scores of a ranker: by LightGBM for few rows, by compiled trees for many. Both are equal."""

import lightgbm as lgb
import numpy as np

from stages.models.boosters import TREES_PER_PASS, mean_scores
from stages.parallel.executor import parallel_map
from stages.ranking.trees import Trees, read_trees

# LightGBM takes half a second for so many pairs of a row and a tree, as long as it takes to load
# Numba and the compiled code. Fewer pairs are not worth it.
COMPILED_FROM = 20_000_000
CHUNK_ROWS = 16_384  # of one thread


class Scorer:
    """A ranker's boosters, and their trees for compiled code once that is worth it.

    Without Numba, and for trees that the compiled code cannot score, LightGBM does all of it.
    """

    def __init__(self, boosters: list[lgb.Booster]) -> None:
        self.boosters, self.features = boosters, boosters[0].feature_name()
        self.num_trees = sum(booster.num_trees() for booster in boosters)
        self.pairs = 0  # of a row and a tree, that LightGBM has scored
        self.trees: Trees | None = None
        self.tried = False  # whether the trees have been read

    def compile_trees(self) -> None:
        """Compile the trees now: before the first request of a program that goes on to run."""
        self.tried = True
        try:
            from stages.ranking.tree_kernel import sum_trees
        except ImportError:  # Numba is not there
            return
        trees = read_trees(self.boosters, TREES_PER_PASS)
        if trees is not None:
            # Two rows, because Numba takes a single one for another type of array.
            sum_trees(np.zeros((2, len(self.features)), np.float32, order="F"), 0, 2, *trees)
            self.trees = trees

    def scores(self, values: np.ndarray, threads: int) -> np.ndarray:
        """Return the [n] means of the boosters' raw scores.

        Args:
            values: [n, features] float32, in the order of `features`; contiguous columns
                save a copy.
            threads: Threads of LightGBM.
        """
        if self.trees is None and not self.tried:
            self.pairs += len(values) * self.num_trees
            if self.pairs >= COMPILED_FROM:
                self.compile_trees()
        if self.trees is None or values.dtype != np.float32:
            return mean_scores(self.boosters, np.ascontiguousarray(values), threads)
        from stages.ranking.tree_kernel import sum_trees

        columns, trees = np.asfortranarray(values), self.trees

        def score(start: int) -> np.ndarray:
            return sum_trees(columns, start, min(start + CHUNK_ROWS, len(columns)), *trees)

        chunks = parallel_map(score, range(0, len(columns), CHUNK_ROWS), local_only=True)
        return np.concatenate([*chunks, np.empty(0)]) / len(self.boosters)
