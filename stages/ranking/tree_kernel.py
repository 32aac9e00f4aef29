"""The sums of trees for many rows, compiled by Numba at the first call.

A block of rows passes through the nodes of a tree side by side. So the loop over the rows has no
branch, and the compiler turns it into vector instructions. Values are added in LightGBM's order,
which makes the sums equal to LightGBM's, bit for bit, on every processor.
"""

import numpy as np
from numba import njit

from stages.ranking.trees import SLOTS

BLOCK_ROWS = 128  # loops of 32 or fewer are not vectorized, and longer ones than this are no faster
ZERO = np.float32(1e-35)  # LightGBM takes smaller values for 0
SLOTS_32, SLOTS_64 = SLOTS[4], SLOTS[8]  # constants of the compiled code


def _sum_trees(
    values: np.ndarray,
    begin: int,
    end: int,
    features: np.ndarray,
    thresholds: np.ndarray,
    masks: np.ndarray,
    first_node: np.ndarray,
    first_nan_right: np.ndarray,
    leaf_values: np.ndarray,
    passes: np.ndarray,
) -> np.ndarray:
    """Return the sums of all trees for the rows from `begin` to `end`.

    Args:
        values: [n, features] float32, each column contiguous.
        begin: The first row.
        end: The row after the last one.
        features: This and all others are those of `stages.ranking.trees.Trees`.
        thresholds: See there.
        masks: See there.
        first_node: See there.
        first_nan_right: See there.
        leaf_values: See there.
        passes: See there.
    """
    columns = np.empty((values.shape[1], BLOCK_ROWS), values.dtype)
    removed, none = np.empty(BLOCK_ROWS, masks.dtype), masks.dtype.type(0)
    total, subtotal, result = np.empty(BLOCK_ROWS), np.empty(BLOCK_ROWS), np.empty(end - begin)
    for start in range(begin, end, BLOCK_ROWS):
        size = min(BLOCK_ROWS, end - start)
        for feature in range(values.shape[1]):
            for row in range(BLOCK_ROWS):  # the last row fills the last block
                value = values[start + min(row, size - 1), feature]
                columns[feature, row] = 0 if abs(value) <= ZERO else value
        for row in range(BLOCK_ROWS):
            total[row] = 0
        for number in range(len(passes) - 1):
            for row in range(BLOCK_ROWS):
                subtotal[row] = 0
            for tree in range(passes[number], passes[number + 1]):
                for row in range(BLOCK_ROWS):
                    removed[row] = none
                for node in range(first_node[tree], first_nan_right[tree]):
                    column, threshold, mask = columns[features[node]], thresholds[node], masks[node]
                    for row in range(BLOCK_ROWS):
                        removed[row] |= mask if column[row] > threshold else none
                for node in range(first_nan_right[tree], first_node[tree + 1]):
                    column, threshold, mask = columns[features[node]], thresholds[node], masks[node]
                    for row in range(BLOCK_ROWS):
                        removed[row] |= none if column[row] <= threshold else mask
                for row in range(BLOCK_ROWS):
                    leaves = ~removed[row]
                    first = leaves & (~leaves + 1)
                    slot = first % SLOTS_32 if masks.itemsize == 4 else first % SLOTS_64
                    subtotal[row] += leaf_values[tree, slot]
            for row in range(BLOCK_ROWS):
                total[row] += subtotal[row]
        for row in range(size):
            result[start - begin + row] = total[row]
    return result


try:
    sum_trees = njit(nogil=True, cache=True)(_sum_trees)
except RuntimeError:  # no folder for compiled code can be written to
    sum_trees = njit(nogil=True)(_sum_trees)
