import math

import polars as pl
import pytest

from stages.evaluation import metrics
from stages.evaluation.metrics import (
    AT_K,
    AtK,
    leaderboard_columns,
    list_metrics,
    mean_by_user,
    mean_metrics,
    rank_systems,
    target_ranks,
    user_metrics,
)
from tests.small_tables import held_out_targets, movie_popularity, scored_lists


def test_a_target_is_ranked_behind_all_of_equal_score() -> None:
    lists = scored_lists([(1, 10, 0.9), (1, 11, 0.5), (1, 12, 0.5), (2, 10, 0.9)])
    # Movie 11 comes first among equals in the list, and still gets the worse rank 3.
    targets = held_out_targets([(1, 11), (2, 99), (3, 10)])
    assert target_ranks(lists, targets).to_list() == [3, 0, 0]


def test_targets_of_equal_score_get_the_last_ranks_among_the_equals() -> None:
    lists = scored_lists([(1, 10, 0.9), (1, 11, 0.5), (1, 12, 0.5), (1, 13, 0.5), (1, 14, 0.1)])
    assert target_ranks(lists, held_out_targets([(1, 11), (1, 13)])).to_list() == [3, 4]


@pytest.mark.parametrize("batch", [1, 2, 4, 4096])
def test_ranks_do_not_depend_on_the_order_of_the_lists_or_the_size_of_the_batches(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "RANK_BATCH_TARGETS", batch)
    rows = [(3, 10, 0.9), (1, 10, 0.5), (3, 11, 0.5), (1, 11, 0.5), (4, 10, -1.0), (3, 12, 0.1)]
    targets = held_out_targets([(3, 12), (1, 11), (2, 10), (3, 10), (1, 10), (4, 11), (3, 11)])
    lists = scored_lists(rows)
    for table in (lists, lists.sort("user_id"), lists.reverse()):
        ranks = target_ranks(table, targets)
        assert ranks.dtype == pl.UInt16
        assert ranks.to_list() == [3, 1, 0, 1, 2, 0, 2]
    assert target_ranks(lists, targets.clear()).to_list() == []


def test_the_queries_of_a_user_become_one_row_of_means() -> None:
    values = pl.DataFrame({"user_id": [9, 4, 8, 5], "a": [1.0, 2.0, 4.0, 7.0], "b": [0, 1, 3, 5]})
    assert mean_by_user(values, values) is values
    queries = pl.DataFrame({"user_id": [4, 4, 5, 8, 9], "source_user_id": [4, 4, 6, 4, 3]})
    table = mean_by_user(values, queries)
    assert table.rows(named=True) == [
        {"a": 1, "b": 0, "user_id": 3},
        {"a": 3, "b": 2, "user_id": 4},
        {"a": 7, "b": 5, "user_id": 6},
    ]
    values = pl.DataFrame({"user_id": range(100)}).with_columns(a=0.0)
    queries = values.select("user_id", source_user_id=200 - pl.col("user_id"))
    assert mean_by_user(values, queries)["user_id"].is_sorted(descending=True)


def test_means_over_users_have_the_recall_of_the_whole_list() -> None:
    ranks = pl.DataFrame({"user_id": [1, 1, 2], "rank": [20, 0, 2]})
    means = mean_metrics(ranks, [2, 10])
    names = [f"{name}@{k}" for name in ("recall", "ndcg", "hit_rate", "precision") for k in (2, 10)]
    assert list(means) == ["users", *names, "mrr", "candidate_recall"]
    assert (means["users"], means["candidate_recall"]) == (2, 0.75)
    assert means["mrr"] == pytest.approx((1 / 20 + 1 / 2) / 2)
    assert (means["recall@2"], means["hit_rate@2"], means["precision@10"]) == (0.5, 0.5, 0.05)


def test_metrics_that_follow_from_recall_are_left_out() -> None:
    ranks = pl.DataFrame({"user_id": [1, 2], "rank": [20, 2]})
    names = [f"{name}@{k}" for name in ("recall", "ndcg") for k in (2, 10)]
    assert list(mean_metrics(ranks, [2, 10])) == ["users", *names, "mrr", "candidate_recall"]


def test_a_nan_score_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a score is NaN$"):
        target_ranks(scored_lists([(1, 10, math.nan)]), held_out_targets([(1, 10)]))


def test_metrics_of_one_target_by_hand() -> None:
    ranks = pl.DataFrame({"user_id": [1, 2, 3], "rank": [1, 3, 0]})
    table = user_metrics(ranks, [1, 10]).sort("user_id")
    # Ranks 1 and 3 give 1 and 1 / log2(4) = 0.5; a miss gives 0.
    assert table["ndcg@10"].to_list() == pytest.approx([1, 0.5, 0])
    assert table["mrr"].to_list() == pytest.approx([1, 1 / 3, 0])
    assert table["recall@1"].to_list() == [1, 0, 0]
    assert table["recall@10"].to_list() == table["hit_rate@10"].to_list() == [1, 1, 0]
    assert table["precision@10"].to_list() == pytest.approx([0.1, 0.1, 0])


def test_metrics_of_several_targets_by_hand() -> None:
    ranks = pl.DataFrame({"user_id": [1, 1, 1], "rank": [2, 0, 5]})
    row = user_metrics(ranks, [2, 10]).row(0, named=True)
    assert row["recall@2"] == pytest.approx(1 / 3)
    assert row["recall@10"] == pytest.approx(2 / 3)
    assert row["hit_rate@2"] == 1
    assert row["precision@2"] == pytest.approx(1 / 2)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert row["ndcg@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(6)) / ideal)
    # Only two of the three targets fit into the top 2.
    assert row["ndcg@2"] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert row["mrr"] == pytest.approx(1 / 2)


def test_coverage_counts_only_evaluated_users_and_movies_with_a_positive() -> None:
    lists = scored_lists([(1, 10, 1.0), (1, 11, 0.5), (2, 12, 1.0)])
    popularity = movie_popularity({10: 4, 11: 3, 12: 2, 13: 1, 14: 0})
    assert list_metrics(lists, pl.Series([1], dtype=pl.Int32), popularity) == {"coverage@10": 0.5}


def test_coverage_looks_at_the_top_ten() -> None:
    lists = scored_lists([(1, movie, 1 / movie) for movie in range(1, 21)])
    popularity = movie_popularity(dict.fromkeys(range(1, 21), 1))
    assert list_metrics(lists, pl.Series([1], dtype=pl.Int32), popularity)["coverage@10"] == 0.5


def test_the_leaderboard_shows_a_metric_at_the_cutoffs_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = leaderboard_columns()
    assert columns == [
        *("recall@1", "recall@10", "recall@20", "recall@50", "recall@200"),
        *("ndcg@10", "ndcg@20", "ndcg@200", "mrr", "coverage@10"),
    ]
    monkeypatch.setitem(AT_K, "toy", AtK(lambda k: pl.lit(k), (3, 5)))
    assert leaderboard_columns() == [*columns[:-2], "toy@3", "toy@5", *columns[-2:]]


def test_systems_are_ordered_by_accuracy_and_equal_ones_keep_their_order() -> None:
    board = {
        name: {"recall@10": 1 - value, "ndcg@10": value, "mrr": 1 - value}
        for name, value in zip("abcd", (0.1, 0.3, 0.3, 0.2))
    }
    assert rank_systems(board, ["a", "c", "b", "d"]) == ["c", "b", "d", "a"]
