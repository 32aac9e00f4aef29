import json
from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.common.tables import RECOMMENDATIONS, write_table
from stages.evaluate import build_ranks, check_cutoffs
from stages.evaluation.metrics import AT_K, AtK, mean_metrics, user_metrics
from stages.evaluation.slices import range_label, slice_metrics
from tests.conftest import edit_params
from tests.small_tables import (
    held_out_targets,
    movie_popularity,
    ranked_lists,
    scored_lists,
    target_rank_table,
)
from tests.stages.results import (
    BOARD,
    METRICS,
    SYSTEMS,
    run_evaluate,
    run_leaderboard,
)


def test_users_without_recommendations_count_as_misses() -> None:
    lists, targets = scored_lists([(1, 10, 1.0)]), held_out_targets([(1, 10), (2, 10)])
    means = mean_metrics(build_ranks(lists, targets, movie_popularity({10: 4})), [1])
    assert (means["users"], means["recall@1"], means["candidate_recall"]) == (2, 0.5, 0.5)


def test_slices_split_the_targets() -> None:
    targets, popularity = held_out_targets([(1, 10), (2, 11)]), movie_popularity({11: 500, 10: 0})
    genres = pl.DataFrame({"movie_id": [10, 11], "genre_A": [1, 0], "genre_B": [1, 1]}).cast(
        {"movie_id": pl.Int32}
    )
    ranks = build_ranks(scored_lists([(1, 10, 1.0)]), targets, popularity)
    rows = slice_metrics(ranks, genres, [1, 10]).rows(named=True)
    table = {(row["slice"], row["value"]): row for row in rows}
    assert table["target_positives", "0"]["recall@1"] == 1
    assert table["target_positives", "101-1000"]["recall@1"] == 0
    assert table["genre", "A"]["users"] == 1
    assert table["genre", "B"]["recall@1"] == 0.5
    assert table["target", "untied"]["users"] == 2


def test_the_ranges_cover_all_values() -> None:
    table = pl.DataFrame({"n": [0, 1, 10, 11, 5000]})
    labels = table.select(range_label("n", [0, 10, 100]))["literal"].to_list()
    assert labels == ["0", "1-10", "1-10", "11-100", "101+"]


def test_every_system_has_metrics_slices_and_ranks(results: Path) -> None:
    run_evaluate()
    folders = {
        METRICS / "systems": "json",
        METRICS / "slices": "csv",
        Path("data/ranks"): "parquet",
    }
    for folder, ending in folders.items():
        assert {path.name for path in folder.iterdir()} == {f"{name}.{ending}" for name in SYSTEMS}


def test_an_excluded_system_is_not_measured(results: Path) -> None:
    edit_params(results, leaderboard__exclude=["ease", "fusion"])
    run_evaluate()
    names = {path.stem for path in (METRICS / "systems").iterdir()}
    assert names == set(SYSTEMS) - {"ease", "fusion"}


def test_a_new_metric_is_defined_in_one_place(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The share of the top k that is no target.
    monkeypatch.setitem(AT_K, "toy", AtK(lambda k: 1 - pl.col(f"hits@{k}") / k, (10,)))
    run_evaluate()
    run_leaderboard()
    board = json.loads(BOARD.read_text())
    for system in SYSTEMS:
        means = json.loads((METRICS / "systems" / f"{system}.json").read_text())
        assert {name for name in means if name.startswith("toy")} == {
            f"toy@{k}" for k in (1, 10, 20, 50, 200)
        }
        assert means["toy@10"] == pytest.approx(1 - means["recall@10"] / 10, abs=2e-6)
        assert board[system]["toy@10"] == means["toy@10"]
        assert "toy@20" not in board[system]
    head, *_ = (METRICS / "leaderboard.md").read_text().splitlines()
    assert "toy@10" in head


def test_the_leaderboard_needs_its_cutoffs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StageError, match=r"evaluate\.cutoffs: is empty; write at least one k"):
        check_cutoffs([])
    with pytest.raises(StageError, match=r"evaluate\.cutoffs: lacks the k of recall@50; add 50"):
        check_cutoffs([1, 10, 20, 200])
    monkeypatch.setitem(AT_K, "toy", AtK(lambda k: pl.lit(k), (7,)))
    with pytest.raises(StageError, match=r"evaluate\.cutoffs: lacks the k of toy@7; add 7"):
        check_cutoffs([1, 10, 20, 50, 200])
    check_cutoffs([1, 7, 10, 20, 50, 200])


def test_a_cutoff_above_the_length_of_the_lists_is_an_error(results: Path) -> None:
    edit_params(Path(), candidates__count=199)
    message = (
        r"^evaluate\.cutoffs: 200 is above candidates\.count, 199; "
        r"set candidates\.count to at least 200, or remove the cutoff$"
    )
    with pytest.raises(StageError, match=message):
        run_evaluate()
    edit_params(Path(), candidates__count=200)
    run_evaluate()


@pytest.mark.parametrize("leftover", ["data/candidates/old", "data/recommendations/ranker_old"])
def test_the_lists_of_a_removed_system_are_an_error(results: Path, leftover: str) -> None:
    Path(leftover).mkdir()
    with pytest.raises(
        StageError, match=rf"^{leftover}: belongs to no block of params\.yaml; dele"
    ):
        run_evaluate()
    assert not (METRICS / "systems").exists()


def test_slices_have_intervals_that_shrink_with_their_users() -> None:
    ranks = target_rank_table([1, 0] * 50).with_columns(tied=pl.Series([True, True] + [False] * 98))
    genres = pl.DataFrame({"movie_id": [1], "genre_A": [1]})
    table = slice_metrics(ranks, genres, [1, 10]).filter(slice="target")
    rows = {row["value"]: row for row in table.iter_rows(named=True)}
    for slice_, users in {"untied": 98, "tied": 2}.items():
        error = 1.96 * (0.25 / (users + 4)) ** 0.5  # half of the users have a hit
        assert rows[slice_]["recall@10_low"] == pytest.approx(0.5 - error)
        assert rows[slice_]["recall@10_high"] == pytest.approx(0.5 + error)


def test_a_few_users_without_a_hit_do_not_prove_that_there_are_none() -> None:
    genres = pl.DataFrame({"movie_id": [1], "genre_A": [1]})
    table = slice_metrics(target_rank_table([0] * 15), genres, [10]).filter(slice="target")
    share = 2 / 19  # with two hits and two misses added
    error = 1.96 * (share * (1 - share) / 19) ** 0.5
    for metric in ("recall@10", "ndcg@10"):
        assert table[f"{metric}_low"].to_list() == [0]
        assert table[f"{metric}_high"].to_list() == [pytest.approx(share + error)]


@pytest.mark.parametrize("system", ["candidates/ease", "recommendations/ranker_hit"])
def test_a_list_with_a_movie_that_its_user_has_seen_is_an_error(results: Path, system: str) -> None:
    path = Path("data") / system / "test.parquet"
    lists = pl.read_parquet(path)
    planted = pl.concat([lists, ranked_lists([(7, 41, 16)])]).sort("user_id", "rank")
    write_table(planted, path, RECOMMENDATIONS)
    with pytest.raises(StageError, match=rf"^{path}: 1 movies are seen, as movie 41 by user 7; a"):
        run_evaluate()


def test_users_with_several_queries_have_the_weight_of_one_user() -> None:
    targets = held_out_targets([(1, 10), (8, 11), (9, 12), (2, 10)])
    targets = targets.with_columns(source_user_id=pl.Series([1, 1, 1, 2], dtype=pl.Int32))
    lists = scored_lists([(1, 10, 1.0), (8, 5, 1.0), (9, 5, 1.0), (2, 10, 1.0)])
    ranks = build_ranks(lists, targets, movie_popularity({10: 4}))
    assert user_metrics(ranks, [1]).select("user_id", "recall@1").rows() == [(1, 1 / 3), (2, 1)]
    means = mean_metrics(ranks, [1])
    assert (means["users"], means["recall@1"]) == (2, pytest.approx(2 / 3))
    assert means["candidate_recall"] == pytest.approx(2 / 3)


def test_new_users_are_a_slice() -> None:
    ranks = target_rank_table([1, 0, 0]).with_columns(new_user=pl.Series([True, False, False]))
    table = slice_metrics(ranks, pl.DataFrame({"movie_id": [1], "genre_A": [1]}), [1, 10])
    rows = {row["value"]: row for row in table.filter(slice="user").iter_rows(named=True)}
    assert (rows["new"]["users"], rows["new"]["recall@1"]) == (1, 1)
    assert (rows["known"]["users"], rows["known"]["recall@1"]) == (2, 0)
