import json
from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.evaluation.accuracy import MAIN_CUTOFFS
from stages.evaluation.metrics import leaderboard_columns, user_metrics
from stages.leaderboard import as_markdown, intervals
from tests.conftest import edit_params
from tests.stages.results import (
    BOARD,
    METRICS,
    SYSTEMS,
    run_evaluate,
    run_leaderboard,
)


def test_intervals_pair_the_same_user() -> None:
    base = pl.DataFrame({"user_id": range(40), "rank": [1, 0] * 20})
    better = base.with_columns(rank=pl.lit(1)).sample(fraction=1, shuffle=True, seed=0)
    systems = {"a": user_metrics(base, MAIN_CUTOFFS), "b": user_metrics(better, MAIN_CUTOFFS)}
    table = intervals(systems, ["a"], 300, 0)
    assert table["system"].unique().to_list() == ["b"]
    assert table["difference"].to_list() == pytest.approx([0.5] * 3)
    assert table["significant"].all()


def test_all_systems_are_compared_with_popularity_and_the_best_retriever(results: Path) -> None:
    run_evaluate()
    run_leaderboard()
    board = json.loads(BOARD.read_text())
    assert list(board) == SYSTEMS
    assert all(list(row) == ["users", *leaderboard_columns()] for row in board.values())
    best = max(("id", "genre", "hard_negative", "history"), key=lambda n: board[n]["ndcg@10"])
    table = pl.read_csv(METRICS / "intervals.csv")
    assert set(table["against"]) == {"popularity", best}
    for baseline in ("popularity", best):
        systems = table.filter(against=baseline)["system"].unique(maintain_order=True).to_list()
        assert systems == [system for system in SYSTEMS if system != baseline]


def test_the_columns_of_the_leaderboard_as_text_are_padded() -> None:
    board = {name: dict.fromkeys(leaderboard_columns(), 0.5) for name in ("a", "ranker_history")}
    head, line, *rows = as_markdown(board).splitlines()
    assert head.startswith("| system         |   recall@1 |  recall@10 |")
    assert line.startswith("| -------------- | ---------: | ---------: |")
    assert [row[:44] for row in rows] == [
        "| a              |     0.5000 |     0.5000 |",
        "| ranker_history |     0.5000 |     0.5000 |",
    ]


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        (["popularity"], r"^generators\.popularity: is missing or excluded, .*; add it"),
        (["id", "genre", "hard_negative", "history"], r"^leaderboard\.exclude: leaves no retriev"),
    ],
)
def test_the_systems_to_compare_with_may_not_be_excluded(
    results: Path, exclude: list[str], message: str
) -> None:
    edit_params(results, leaderboard__exclude=exclude)
    run_evaluate()
    with pytest.raises(StageError, match=message):
        run_leaderboard()
