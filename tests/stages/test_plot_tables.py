from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import plot_tables
from stages.common.files import write_csv
from stages.common.stage import StageError
from stages.evaluation.metrics import user_metrics
from tests.conftest import edit_params
from tests.small_tables import movie_popularity, ranked_lists, target_rank_table
from tests.stages.results import (
    METRICS,
    PARAMS,
    run_beyond_accuracy,
    run_evaluate,
    run_leaderboard,
    run_plot_tables,
)


@pytest.fixture
def results(results: Path) -> Path:
    """The results, evaluated."""
    run_evaluate()
    run_leaderboard()
    run_beyond_accuracy()
    return results


def test_metrics_at_k_are_means_over_users() -> None:
    table = plot_tables.metrics_at_k({"a": target_rank_table([1, 3, 0, 0])}, [1, 2, 3])
    assert table.columns == ["system", "k", "recall", "ndcg"]
    assert table["recall"].to_list() == [0.25, 0.25, 0.5]
    assert table["ndcg"].to_list() == pytest.approx([0.25, 0.25, 0.25 + 0.25 / 2])
    assert table.select("system", "k").rows() == [("a", 1), ("a", 2), ("a", 3)]


def test_main_metrics_are_within_their_intervals_and_follow_the_seed() -> None:
    rng = np.random.default_rng(0)
    ranks = {name: target_rank_table(rng.integers(0, 30, 300).tolist()) for name in ("a", "b")}
    table = plot_tables.main_metrics(ranks, 200, seed=1)
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    assert table.equals(plot_tables.main_metrics(ranks, 200, seed=1))
    assert not table.equals(plot_tables.main_metrics(ranks, 200, seed=2))
    mean = user_metrics(ranks["b"], [10])["ndcg@10"].mean()
    assert table.filter(system="b", metric="ndcg@10")["value"].item() == pytest.approx(mean)


def test_deciles_hold_movies_with_a_positive_only_and_are_alike_in_size() -> None:
    popularity = movie_popularity({i: 25 - i if i < 20 else 0 for i in range(25)})
    table = plot_tables.popularity_deciles(popularity)
    assert table["decile"].to_list() == [i // 2 + 1 for i in range(20)]


def test_the_long_tail_counts_the_top_ten_of_the_evaluated_users() -> None:
    popularity = movie_popularity({movie: 11 - movie for movie in range(1, 11)})
    # Movie 10 has rank 11, and user 3 is not evaluated: neither counts.
    lists = ranked_lists([(1, 1, 1), (1, 2, 2), (2, 1, 1), (2, 9, 10), (2, 10, 11), (3, 10, 1)])
    table = plot_tables.long_tail({"a": lists}, pl.Series([1, 2]), popularity)
    shares = {name: part["share"].to_list() for (name,), part in table.group_by("system")}
    assert shares["a"] == [0.5, 0.25, 0, 0, 0, 0, 0, 0, 0.25, 0]
    assert shares[plot_tables.POSITIVES_LABEL] == [i / 55 for i in range(10, 0, -1)]


def test_slices_are_in_the_order_of_their_bounds(tmp_path: Path) -> None:
    rows = {"slice": "activity", "value": ["201+", "0-10", "51-200", "11-50"], "users": 3}
    figures = {"recall@10": 0.5, "recall@10_low": 0.4, "recall@10_high": 0.6, "ndcg@10": 0.25}
    write_csv(pl.DataFrame({**rows, **figures}), tmp_path / "a.csv")
    table = plot_tables.read_slices(tmp_path, ["a"])
    assert table.row(0, named=True)["low"] == 0.4
    assert table["value"].to_list() == ["0-10", "11-50", "51-200", "201+"]


def test_tables_of_retrievers_and_rankers_are_concatenated(results: Path) -> None:
    run_plot_tables()
    curves = pl.read_csv(METRICS / "plots" / "curves.csv")
    assert curves.columns == ["retriever", "epoch", "loss", "ndcg@10"]
    assert curves["retriever"].to_list() == [name for name in PARAMS["retrievers"] for _ in "12"]
    importance = pl.read_csv(METRICS / "plots" / "importance.csv")
    assert importance.columns == ["ranker", "feature", "gain_share", "splits"]
    assert importance["ranker"].to_list() == [name for name in PARAMS["rankers"] for _ in "12"]


def test_only_the_most_important_features_are_kept(tmp_path: Path) -> None:
    gains = {"feature": ["rank", "score", "year"], "gain_share": [0.5, 0.3, 0.2]}
    for name in ("a", "b"):
        write_csv(pl.DataFrame(gains), tmp_path / f"{name}.csv")
    table = plot_tables.concat_tables(tmp_path, ["b", "a"], "ranker", 2)
    assert table.select("ranker", "feature").rows() == [
        *(("b", "rank"), ("b", "score")),
        *(("a", "rank"), ("a", "score")),
    ]


@pytest.mark.parametrize("folder", ["curves", "importance", "slices"])
def test_the_table_of_a_removed_block_is_an_error(results: Path, folder: str) -> None:
    path = METRICS / folder / "old.csv"
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(StageError, match=rf"^{path}: belongs to no block of params\.yaml; delete"):
        run_plot_tables()
    assert not (METRICS / "plots").exists()


def test_a_leaderboard_of_other_systems_is_an_error(results: Path) -> None:
    edit_params(results, leaderboard__exclude=["ease"])
    with pytest.raises(StageError, match=r"^metrics/leaderboard\.json: has other systems .*repro"):
        run_plot_tables()
