import json
from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.evaluate import build_ranks, check_cutoffs, range_label, slice_metrics
from stages.evaluation.metrics import AT_K, AtK, mean_metrics
from tests.conftest import edit_params
from tests.small_tables import held_out_targets, movie_popularity, scored_lists
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
    rows = slice_metrics(ranks, genres, [1]).rows(named=True)
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
        assert means["toy@10"] == pytest.approx(1 - means["precision@10"], abs=2e-6)
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


@pytest.mark.parametrize("leftover", ["data/candidates/old", "data/recommendations/ranker_old"])
def test_the_lists_of_a_removed_system_are_an_error(results: Path, leftover: str) -> None:
    Path(leftover).mkdir()
    with pytest.raises(
        StageError, match=rf"^{leftover}: belongs to no block of params\.yaml; dele"
    ):
        run_evaluate()
    assert not (METRICS / "systems").exists()
