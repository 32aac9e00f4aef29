import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.common.stage import StageError
from stages.common.systems import generator_names
from stages.evaluation.accuracy import MAIN_CUTOFFS
from stages.evaluation.metrics import leaderboard_columns, user_metrics
from stages.leaderboard import as_markdown, intervals, with_marks
from tests.conftest import edit_params
from tests.stages.results import (
    BOARD,
    METRICS,
    SYSTEMS,
    run_evaluate,
    run_leaderboard,
)


def test_intervals_pair_the_same_user() -> None:
    """Half of the users have a hit; of the others, 8 get one from the better system."""
    users = 40
    base = pl.DataFrame({"user_id": range(users), "rank": [1, 0] * 20})
    gained = (pl.col("user_id") % 2 == 1) & (pl.col("user_id") < 16)
    better = base.with_columns(rank=pl.when(gained).then(1).otherwise("rank"))
    better = better.sample(fraction=1, shuffle=True, seed=0)
    systems = {"a": user_metrics(base, MAIN_CUTOFFS), "b": user_metrics(better, MAIN_CUTOFFS)}
    table = intervals(systems, ["a"], 300, 0)
    assert table["system"].unique().to_list() == ["b"]
    assert table["difference"].to_list() == pytest.approx([0.2] * 3)
    # With the users of `better` in its own order, the differences would be of both signs, and
    # their deviation 0.7.
    error = (0.2 * 0.8 / (users - 1)) ** 0.5
    p_value = math.erfc(0.2 / error / math.sqrt(2))
    assert table["p_value"].to_list() == pytest.approx([p_value] * 3)
    assert table["significant"].all()
    assert (table["high"] - table["low"]).to_list() == pytest.approx(
        [2 * 1.96 * error] * 3, rel=0.2
    )


def test_the_seed_decides_which_users_are_drawn() -> None:
    ranks = {
        name: pl.DataFrame({"user_id": range(9), "rank": range(n, n + 9)})
        for name, n in (("a", 0), ("b", 3))
    }
    systems = {name: user_metrics(table, MAIN_CUTOFFS) for name, table in ranks.items()}
    tables = [intervals(systems, ["a"], 50, seed) for seed in (0, 0, 1)]
    assert tables[0].equals(tables[1])
    ends = ["low", "high"]
    assert not tables[0].select(ends).equals(tables[2].select(ends))
    assert tables[0].drop(ends).equals(tables[2].drop(ends))


def test_all_systems_are_compared_with_popularity_the_best_generator_and_fusion(
    results: Path,
) -> None:
    run_evaluate()
    run_leaderboard()
    board = json.loads(BOARD.read_text())
    assert list(board) == SYSTEMS
    assert all(list(row) == ["users", *leaderboard_columns()] for row in board.values())
    best = max(generator_names(), key=lambda name: board[name]["ndcg@10"])
    table = pl.read_csv(METRICS / "intervals.csv")
    assert set(table["against"]) == {"popularity", best, "fusion"}
    for baseline in ("popularity", best, "fusion"):
        systems = table.filter(against=baseline)["system"].unique(maintain_order=True).to_list()
        assert systems == [system for system in SYSTEMS if system != baseline]


def test_the_text_has_a_mark_for_every_comparison(results: Path) -> None:
    run_evaluate()
    # All targets first: better than every baseline.
    path = Path("data/ranks/ease.parquet")
    table = pl.read_parquet(path).with_columns(rank=pl.lit(1, pl.UInt16))
    table.write_parquet(path)
    run_leaderboard()
    head, _, *lines = (METRICS / "leaderboard.md").read_text().splitlines()
    names = [name.strip() for name in head.split("|")]
    rows = [dict(zip(names, map(str.strip, line.split("|")))) for line in lines]
    marks = {row["system"]: {k: v for k, v in row.items() if k.startswith("vs ")} for row in rows}
    assert list(marks) == SYSTEMS
    assert set(marks["ease"].values()) == {"+"}
    expected = dict.fromkeys(marks["ease"], "~")
    for system, row in marks.items():
        if system != "ease":
            assert row == expected | ({f"vs {system}": ""} if f"vs {system}" in row else {})


def test_the_columns_of_the_leaderboard_as_text_are_padded() -> None:
    board = {name: dict.fromkeys(leaderboard_columns(), 0.5) for name in ("a", "ranker_history")}
    head, line, *rows = as_markdown(board, leaderboard_columns()).splitlines()
    assert head.startswith("| system         |   recall@1 |  recall@10 |")
    assert line.startswith("| -------------- | ---------: | ---------: |")
    assert [row[:44] for row in rows] == [
        "| a              |     0.5000 |     0.5000 |",
        "| ranker_history |     0.5000 |     0.5000 |",
    ]


def test_popularity_may_not_be_excluded(results: Path) -> None:
    edit_params(results, leaderboard__exclude=["popularity"])
    run_evaluate()
    with pytest.raises(
        StageError, match=r"^generators\.popularity: is missing or excluded, .*; add it"
    ):
        run_leaderboard()


def test_popularity_may_be_the_only_generator(results: Path) -> None:
    others = [name for name in generator_names() if name != "popularity"]
    edit_params(results, leaderboard__exclude=[*others, "fusion"])
    run_evaluate()
    run_leaderboard()
    table = pl.read_csv(METRICS / "intervals.csv")
    assert table["against"].unique().to_list() == ["popularity"]
    assert not table.select("system", "against", "metric").is_duplicated().any()


def test_only_what_survives_the_correction_is_significant() -> None:
    """One of 12 differences is large; another would be significant on its own."""
    users = 400
    rng = np.random.default_rng(0)
    base = pl.DataFrame({"user_id": range(users), "rank": np.where(rng.random(users) < 0.5, 1, 0)})
    systems = {"popularity": user_metrics(base, MAIN_CUTOFFS)}
    for number in range(12):
        gained = 60 if number == 0 else 7 if number == 1 else 0
        misses = np.flatnonzero(base["rank"].to_numpy() == 0)[:gained]
        rank = base["rank"].to_numpy().copy()
        rank[misses] = 1
        systems[f"s{number}"] = user_metrics(base.with_columns(rank=pl.Series(rank)), MAIN_CUTOFFS)
    table = intervals(systems, ["popularity"], 100, 0).filter(metric="ndcg@10")
    rows = {row["system"]: row for row in table.iter_rows(named=True)}
    assert rows["s0"]["significant"]
    assert rows["s0"]["p_holm"] == pytest.approx(12 * rows["s0"]["p_value"], abs=0)
    assert rows["s1"]["p_value"] < 0.05 < rows["s1"]["p_holm"]
    assert not rows["s1"]["significant"]
    assert rows["s2"]["p_holm"] == 1


def test_only_significant_differences_are_marked() -> None:
    rows = [
        ("a", "popularity", "ndcg@10", 0.1, True),
        ("a", "b", "ndcg@10", -0.2, True),
        ("b", "popularity", "ndcg@10", 0.3, False),
        ("b", "popularity", "recall@10", 0.3, True),
    ]
    columns = ["system", "against", "metric", "difference", "significant"]
    marks = with_marks({"a": {}, "b": {}}, pl.DataFrame(rows, schema=columns, orient="row"))
    assert marks == {"a": {"vs popularity": "+", "vs b": "-"}, "b": {"vs popularity": "~"}}
