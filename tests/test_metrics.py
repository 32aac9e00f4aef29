import math

import numpy as np
import polars as pl
import pytest

from stages.bootstrap import paired_intervals
from stages.common.tables import RECOMMENDATIONS, TEST
from stages.evaluate import bounds, coverage, means, rank_targets, slices
from stages.leaderboard import intervals
from stages.metrics import target_ranks, user_metrics


def recommendations(rows: list[tuple[int, int, float]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=["user_id", "movie_id", "score"], orient="row")
    table = table.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))
    return table.cast(dict(RECOMMENDATIONS))


def targets(rows: list[tuple[int, int]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=["user_id", "movie_id"], orient="row")
    extra = {"timestamp": 0, "position": 5, "tied": False, "history_length": 5}
    return table.with_columns(**{k: pl.lit(v) for k, v in extra.items()}).cast(dict(TEST))


def test_a_target_stands_behind_all_of_equal_score() -> None:
    lists = recommendations([(1, 10, 0.9), (1, 11, 0.5), (1, 12, 0.5), (2, 10, 0.9)])
    # Movie 11 comes first among equals in the list, and still gets the worse rank 3.
    assert target_ranks(lists, targets([(1, 11), (2, 99), (3, 10)])).to_list() == [3, 0, 0]


def test_a_nan_score_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        target_ranks(recommendations([(1, 10, math.nan)]), targets([(1, 10)]))


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
    # Of three targets two fit into two places.
    assert row["ndcg@2"] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert row["mrr"] == pytest.approx(1 / 2)


def test_users_without_recommendations_count_as_misses() -> None:
    popularity = pl.DataFrame({"movie_id": [10], "likings": [4]}).cast(
        {"movie_id": pl.Int32, "likings": pl.UInt32}
    )
    ranks = rank_targets(recommendations([(1, 10, 1.0)]), targets([(1, 10), (2, 10)]), popularity)
    figures = means(ranks, [1])
    assert (figures["users"], figures["recall@1"], figures["ceiling"]) == (2, 0.5, 0.5)


def test_coverage_counts_only_measured_users() -> None:
    lists = recommendations([(1, 10, 1.0), (1, 11, 0.5), (2, 12, 1.0)])
    assert coverage(lists, pl.Series([1], dtype=pl.Int32), 4) == 0.5


def test_slices_part_the_users() -> None:
    wanted = targets([(1, 10), (2, 11)])
    popularity = pl.DataFrame({"movie_id": [10, 11], "likings": [0, 500]}).cast(
        {"movie_id": pl.Int32, "likings": pl.UInt32}
    )
    genres = pl.DataFrame({"movie_id": [10, 11], "genre_A": [1, 0], "genre_B": [1, 1]}).cast(
        {"movie_id": pl.Int32}
    )
    ranks = rank_targets(recommendations([(1, 10, 1.0)]), wanted, popularity)
    table = {(r["slice"], r["value"]): r for r in slices(ranks, genres, [1]).rows(named=True)}
    assert table["target_likings", "0"]["recall@1"] == 1
    assert table["target_likings", "101-1000"]["recall@1"] == 0
    assert table["genre", "A"]["users"] == 1
    assert table["genre", "B"]["recall@1"] == 0.5
    assert table["target", "untied"]["users"] == 2


def test_bounds_cover_everything() -> None:
    table = pl.DataFrame({"n": [0, 1, 10, 11, 5000]})
    labels = table.select(bounds("n", [0, 10, 100]))["literal"].to_list()
    assert labels == ["0", "1-10", "1-10", "11-100", "101+"]


def test_the_interval_of_no_difference_holds_zero_and_of_a_sure_one_does_not() -> None:
    rng = np.random.default_rng(1)
    differences = np.column_stack([np.full(200, 0.2), np.tile([1.0, -1.0], 100)])
    low, high = paired_intervals(differences, 500, rng)
    assert low[0] == pytest.approx(0.2)
    assert high[0] == pytest.approx(0.2)
    assert low[1] < 0 < high[1]
    # The mean of 200 draws of +-1 has the standard error 1 / sqrt(200), so 95% is +-0.139.
    assert high[1] - low[1] == pytest.approx(2 * 1.96 / math.sqrt(200), rel=0.15)


def test_intervals_pair_the_same_user() -> None:
    base = pl.DataFrame({"user_id": range(40), "rank": [1, 0] * 20})
    better = base.with_columns(rank=pl.lit(1)).sample(fraction=1, shuffle=True, seed=0)
    systems = {"a": user_metrics(base, [10, 200]), "b": user_metrics(better, [10, 200])}
    table = intervals(systems, ["a"], 300, 0)
    assert table["system"].unique().to_list() == ["b"]
    assert table["difference"].to_list() == pytest.approx([0.5] * 3)
    assert table["real"].all()
