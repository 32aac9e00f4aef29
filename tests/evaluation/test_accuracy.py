import math

import polars as pl
import pytest

from stages.evaluation.accuracy import MAIN_ACCURACY, MAIN_CUTOFFS, hits, user_accuracy


def gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def test_recall_ndcg_and_mrr_of_users_with_one_and_several_targets() -> None:
    # The ranks are unsigned, as in the table of ranks.
    ranks = pl.DataFrame({"user_id": [7, 2, 7, 7, 5], "rank": [0, 3, 4, 2, 0]})
    ranks = ranks.cast({"rank": pl.UInt16})
    table = user_accuracy(ranks, [1, 2, 10])
    names = [f"{name}@{k}" for k in (1, 2, 10) for name in ("recall", "ndcg")]
    assert table.columns == ["user_id", "mrr", *names]
    rows = {row["user_id"]: row for row in table.iter_rows(named=True)}
    assert list(rows) == [7, 2, 5]
    assert [rows[user]["mrr"] for user in rows] == pytest.approx([1 / 2, 1 / 3, 0])
    assert [rows[user]["recall@1"] for user in rows] == [0, 0, 0]
    assert [rows[user]["recall@2"] for user in rows] == pytest.approx([1 / 3, 0, 0])
    assert [rows[user]["recall@10"] for user in rows] == pytest.approx([2 / 3, 1, 0])
    assert [rows[user]["ndcg@1"] for user in rows] == [0, 0, 0]
    two, three = 1 + gain(2), 1 + gain(2) + gain(3)
    assert [rows[user]["ndcg@2"] for user in rows] == pytest.approx([gain(2) / two, 0, 0])
    expected = [(gain(2) + gain(4)) / three, gain(3), 0]
    assert [rows[user]["ndcg@10"] for user in rows] == pytest.approx(expected)


def test_a_metric_is_a_function_of_hits_gains_and_targets() -> None:
    ranks = pl.DataFrame({"user_id": [1, 1, 2], "rank": [1, 9, 2]})
    metrics = {
        "hits": hits,
        "gains": lambda k: pl.col(f"gains@{k}"),
        "ideal": lambda k: pl.col(f"ideal_gain@{k}"),
        "targets": lambda _: pl.col("targets"),
    }
    table = user_accuracy(ranks, [8, 1, 9], metrics)
    assert table.rows(named=True) == [
        {
            **{"user_id": 1, "mrr": 1},
            **{"hits@8": 1, "gains@8": 1, "ideal@8": pytest.approx(1 + gain(2)), "targets@8": 2},
            **{"hits@1": 1, "gains@1": 1, "ideal@1": 1, "targets@1": 2},
            **{"hits@9": 2, "gains@9": pytest.approx(1 + gain(9))},
            **{"ideal@9": pytest.approx(1 + gain(2)), "targets@9": 2},
        },
        {
            **{"user_id": 2, "mrr": 0.5},
            **{"hits@8": 1, "gains@8": pytest.approx(gain(2)), "ideal@8": 1, "targets@8": 1},
            **{"hits@1": 0, "gains@1": 0, "ideal@1": 1, "targets@1": 1},
            **{"hits@9": 1, "gains@9": pytest.approx(gain(2)), "ideal@9": 1, "targets@9": 1},
        },
    ]


def test_a_user_may_have_more_targets_than_the_largest_cutoff() -> None:
    ranks = pl.DataFrame({"user_id": [1] * 4, "rank": [1, 2, 3, 4]})
    row = user_accuracy(ranks, [2]).row(0, named=True)
    assert row == {"user_id": 1, "mrr": 1, "recall@2": 0.5, "ndcg@2": pytest.approx(1)}


def test_systems_are_compared_at_the_cutoffs_of_the_main_metrics() -> None:
    assert MAIN_CUTOFFS == [10, 200]
    assert list(MAIN_ACCURACY) == ["recall", "ndcg"]
