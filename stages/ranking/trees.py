"""The trees of LightGBM models as flat arrays, for `stages.ranking.tree_kernel`.

A tree's leaves are bits, numbered from left to right. The rows that go right at a node cannot end
in the leaves left of it: these are the bits that the node removes. A row ends in the first leaf
that no node removes (QuickScorer, Lucchese et al. 2015). For example, with three leaves:

    node 0: x <= 5             right of 5: leaf 0 or 1 cannot be, bits 011
      node 1: y <= 2           right of 2: leaf 0 cannot be, bits 001
        leaf 0, leaf 1
      leaf 2

    the row x = 3, y = 4       removes 001, and ends in leaf 1
"""

from typing import NamedTuple

import lightgbm as lgb
import numpy as np

MAX_LEAVES = 64  # bits of the largest mask
TEXT_FORMAT = "version=v4"  # LightGBM's text format that is read here
# A decision is an integer: bit 0 means a category, bit 1 that a missing value goes left, and the
# bits from the second on how a missing value is written.
IS_CATEGORY, MISSING_GOES_LEFT, MISSING_SHIFT = 1, 2, 2
MISSING_NONE, MISSING_NAN = 0, 2
# Slots of a tree's leaf values, by the bytes of a mask: a prime above the number of bits, of which
# 2 is a primitive root. So all powers of two have different remainders.
SLOTS = {4: 37, 8: 67}


class Trees(NamedTuple):
    """Trees, one after the other. Within a tree, nodes that NaN goes right at come last."""

    features: np.ndarray  # [nodes] int64 column of each node
    thresholds: np.ndarray  # [nodes] float32; a value goes right if it is larger
    masks: np.ndarray  # [nodes] uint32 or uint64 leaves that a row going right cannot end in
    first_node: np.ndarray  # [trees + 1] of each tree
    first_nan_right: np.ndarray  # [trees] the first of its nodes that NaN goes right at
    leaf_values: np.ndarray  # [trees, slots] of leaf k in the slot 2 ** k % slots
    passes: np.ndarray  # [passes + 1] first tree of each pass, whose sum is computed on its own


class _Tree(NamedTuple):
    """One tree; leaves are numbered from left to right."""

    features: np.ndarray  # [nodes]
    thresholds: np.ndarray  # [nodes] float64
    first_leaf: np.ndarray  # [nodes] the first leaf below the node
    left_leaves: np.ndarray  # [nodes] number of leaves below the left child
    nan_right: np.ndarray  # [nodes] bool
    leaf_values: np.ndarray  # [leaves]


def read_trees(boosters: list[lgb.Booster], trees_per_pass: int) -> Trees | None:
    """Return the trees of `boosters`, or None if they have more than the kernel can score.

    These are categories, linear trees, several outputs, more than `MAX_LEAVES` leaves, zeros that
    mean a missing value, and another text format.

    Args:
        boosters: The models of one ranker.
        trees_per_pass: A pass has that many trees of one booster; the last one may have fewer.
    """
    trees: list[_Tree] = []
    passes = [0]
    for booster in boosters:
        head, *blocks = booster.model_to_string(num_iteration=-1).split("\nTree=")
        if TEXT_FORMAT not in head or "num_tree_per_iteration=1\n" not in head:
            return None
        if "\naverage_output\n" in head:
            return None
        parts = [_parse_tree(block, booster.num_feature()) for block in blocks]
        if not parts or any(part is None for part in parts):
            return None
        passes += [len(trees) + n for n in (*range(0, len(parts), trees_per_pass)[1:], len(parts))]
        trees += [part for part in parts if part is not None]
    return _flatten(trees, passes)


def _parse_tree(block: str, num_features: int) -> _Tree | None:
    """Return the tree of a block of LightGBM's text, or None if it is of another kind."""
    lines = block.split("\n\n")[0].splitlines()[1:]
    texts = dict(line.split("=", 1) for line in lines)
    leaves = int(texts["num_leaves"])
    if texts["num_cat"] != "0" or texts["is_linear"] != "0" or leaves > MAX_LEAVES:
        return None
    names = ("split_feature", "left_child", "right_child", "decision_type")
    features, left, right, decisions = (
        np.array(texts[name].split() if leaves > 1 else [], dtype=np.int64) for name in names
    )
    thresholds = np.array(texts["threshold"].split() if leaves > 1 else [], dtype=np.float64)
    missing = decisions >> MISSING_SHIFT
    if (decisions & IS_CATEGORY).any() or (features >= num_features).any():
        return None
    if not np.isin(missing, (MISSING_NONE, MISSING_NAN)).all():
        return None
    # Where a feature had no missing value in training, LightGBM takes NaN for 0.
    nan_left = np.where(missing == MISSING_NAN, decisions & MISSING_GOES_LEFT, thresholds >= 0)
    first_leaf, left_leaves, order = _number_leaves(left.tolist(), right.tolist())
    values = np.array(texts["leaf_value"].split(), dtype=np.float64)
    return _Tree(features, thresholds, first_leaf, left_leaves, nan_left == 0, values[order])


def _number_leaves(left: list[int], right: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the leaves of a tree from left to right.

    Args:
        left: [nodes] the left child of each node: a later node, or -1 - n for the leaf n.
        right: [nodes] the right child.

    Returns:
        The first leaf below each node, the number of leaves below its left child, and LightGBM's
        number of each leaf.
    """
    leaves, left_leaves = [1] * len(left), [1] * len(left)
    for node in reversed(range(len(left))):  # a node's children come after it
        left_leaves[node] = leaves[left[node]] if left[node] >= 0 else 1
        leaves[node] = left_leaves[node] + (leaves[right[node]] if right[node] >= 0 else 1)
    first, order = [0] * len(left), [0] * (len(left) + 1)
    for node in range(len(left)):
        middle = first[node] + left_leaves[node]
        for child, start in ((left[node], first[node]), (right[node], middle)):
            if child >= 0:
                first[child] = start
            else:
                order[start] = -1 - child
    return np.array(first, np.int64), np.array(left_leaves, np.int64), np.array(order)


def _flatten(trees: list[_Tree], passes: list[int]) -> Trees:
    """Return the trees as arrays, the nodes of each with those last that NaN goes right at."""
    order = [np.argsort(tree.nan_right, kind="stable") for tree in trees]

    def nodes(name: str) -> np.ndarray:
        return np.concatenate([getattr(tree, name)[by] for tree, by in zip(trees, order)])

    sizes = [len(tree.features) for tree in trees]
    first_node = np.concatenate([[0], np.cumsum(sizes)])
    nan_left = [size - int(tree.nan_right.sum()) for size, tree in zip(sizes, trees)]
    mask_type = np.uint32 if max(sizes) < 32 else np.uint64
    one = np.uint64(1)
    width, shift = nodes("left_leaves").astype(np.uint64), nodes("first_leaf").astype(np.uint64)
    slots = SLOTS[np.dtype(mask_type).itemsize]
    values = np.zeros((len(trees), slots))
    for row, tree in zip(values, trees):
        row[[pow(2, leaf, slots) for leaf in range(len(tree.leaf_values))]] = tree.leaf_values
    return Trees(
        features=nodes("features").astype(np.int64),
        thresholds=round_down(nodes("thresholds")),
        masks=(((one << width) - one) << shift).astype(mask_type),
        first_node=first_node,
        first_nan_right=first_node[:-1] + np.array(nan_left),
        leaf_values=values,
        passes=np.array(passes),
    )


def round_down(values: np.ndarray) -> np.ndarray:
    """Return the largest float32 that is not above each value.

    A float32 is larger than the result exactly where it is larger than the value.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    lower = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded.astype(np.float64) > values, lower, rounded)
