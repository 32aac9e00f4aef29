import lightgbm as lgb
import numpy as np
import pytest

from stages.ranking.trees import read_trees, round_down

LABELS = np.random.default_rng(0).integers(0, 3, 500)
VALUES = np.random.default_rng(1).normal(size=(500, 4)) + LABELS[:, None]


def train(trees: int = 5, **options: object) -> lgb.Booster:
    """A model of `VALUES`, whose labels are 0, 1 and 2."""
    params = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2, "num_leaves": 8} | options
    categories = params.pop("categories", "auto")
    values = np.round(VALUES).clip(0) if categories != "auto" else VALUES
    return lgb.train(params, lgb.Dataset(values, LABELS, categorical_feature=categories), trees)


def test_a_float32_is_above_the_rounded_threshold_if_it_is_above_the_threshold() -> None:
    exact = np.array([0.0, -0.0, 1.5, -7.25, np.inf, -np.inf, 1e-40, 3.4e38], dtype=np.float32)
    exact = np.concatenate([exact, np.random.default_rng(2).normal(size=50).astype(np.float32)])
    near = np.nextafter(exact, np.inf, dtype=np.float64), np.nextafter(exact, -np.inf, dtype=float)
    thresholds = np.concatenate([exact.astype(np.float64), *near, [1e300, -1e300, 0.1]])
    steps = (np.nextafter(exact, side, dtype=np.float32) for side in map(np.float32, (-9, 9)))
    values = np.concatenate([exact, *steps])
    rounded = round_down(thresholds)
    assert rounded.dtype == np.float32
    expected = values.astype(np.float64)[:, None] > thresholds
    assert ((values[:, None] > rounded) == expected).all()
    assert expected.any()


def test_a_pass_has_trees_of_one_booster_only() -> None:
    trees = read_trees([train(5), train(3)], trees_per_pass=2)
    assert trees is not None
    assert trees.passes.tolist() == [0, 2, 4, 5, 7, 8]
    assert len(trees.leaf_values) == len(trees.first_node) - 1 == 8


def test_masks_are_as_wide_as_the_largest_tree_needs() -> None:
    for leaves, mask_type in ((32, np.uint32), (33, np.uint64), (64, np.uint64)):
        booster = train(3, num_leaves=leaves, min_data_in_leaf=1, min_sum_hessian_in_leaf=0)
        assert booster.dump_model()["tree_info"][0]["num_leaves"] == leaves
        trees = read_trees([booster], 100)
        assert trees is not None
        assert trees.masks.dtype == mask_type


@pytest.mark.parametrize(
    "options",
    [
        {"num_leaves": 65, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0},
        {"categories": [0, 1]},
        {"linear_tree": True},
        {"zero_as_missing": True, "use_missing": True},
        {"objective": "multiclass", "num_class": 3},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    ],
    ids=lambda options: next(iter(options)),
)
def test_models_of_another_kind_are_left_to_lightgbm(options: dict[str, object]) -> None:
    assert read_trees([train()], 100) is not None
    assert read_trees([train(), train(**options)], 100) is None


# Node 0 has node 1 on its left and leaf 0 on its right, node 1 has the leaves 2 and 1. A missing
# value goes right at node 0; node 1 has seen none, and takes it for 0.
SMALL_TREE = """tree
version=v4
num_tree_per_iteration=1

Tree=0
num_leaves=3
num_cat=0
split_feature=3 1
threshold=0.1 0
decision_type=8 0
left_child=1 -3
right_child=-1 -2
leaf_value=0.5 1.5 -2.5
is_linear=0
shrinkage=1


end of trees
"""


class Written:
    """A booster that is written as `text`."""

    def __init__(self, text: str) -> None:
        self.text = text

    def num_feature(self) -> int:
        return VALUES.shape[1]

    def model_to_string(self, num_iteration: int) -> str:
        return self.text


def test_another_text_format_and_a_model_without_trees_are_left_to_lightgbm() -> None:
    text = train().model_to_string()
    assert read_trees([Written(text)], 100) is not None
    assert read_trees([Written(text.replace("version=v4", "version=v5"))], 100) is None
    assert read_trees([Written(text[: text.index("\nTree=0")])], 100) is None
    assert read_trees([Written(text.replace("split_feature=", "split_feature=9"))], 100) is None


def test_the_leaves_of_a_tree_are_bits_from_left_to_right() -> None:
    trees = read_trees([Written(SMALL_TREE)], 100)
    assert trees is not None
    assert trees.features.tolist() == [1, 3]  # NaN goes right at node 0, which comes last
    assert trees.thresholds.tolist() == [0, round_down(np.array([0.1]))[0]]
    assert trees.masks.tolist() == [0b001, 0b011]
    assert (trees.first_node.tolist(), trees.first_nan_right.tolist()) == ([0, 2], [1])
    expected = np.zeros((1, 37))
    expected[0, [1, 2, 4]] = -2.5, 1.5, 0.5  # in the slots of the bits 1, 2 and 4
    assert np.array_equal(trees.leaf_values, expected)
    assert trees.passes.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("was", "becomes", "is_read"),
    [
        ("split_feature=3 1", "split_feature=2 3", True),
        ("split_feature=3 1", "split_feature=3 4", False),  # the model has 4 features
        ("decision_type=8 0", "decision_type=10 2", True),
        ("decision_type=8 0", "decision_type=8 4", False),  # zeros are missing values
        ("decision_type=8 0", "decision_type=1 0", False),
        ("num_cat=0", "num_cat=1", False),
        ("is_linear=0", "is_linear=1", False),
        ("version=v4", "version=v3", False),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=12", False),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=1\naverage_output", False),
    ],
)
def test_any_part_of_another_kind_leaves_the_tree_to_lightgbm(
    was: str, becomes: str, is_read: bool
) -> None:
    trees = read_trees([Written(SMALL_TREE.replace(was, becomes))], 100)
    assert (trees is not None) is is_read
