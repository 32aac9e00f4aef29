import polars as pl

from benchmarks.timings import stage_seconds
from stages.reporting.parts import (
    board_table,
    flatten,
    interval_table,
    parameters,
    statistics,
    timing_table,
)


def test_the_best_value_of_a_column_is_marked() -> None:
    board = {"a": {"users": 9, "mrr": 0.5}, "b": {"users": 9, "mrr": 0.25}}
    assert '<span class="best">0.5000</span>' in board_table(board)
    assert '<span class="value">0.2500</span>' in board_table(board)


def test_significant_differences_to_the_baseline_are_marked() -> None:
    rows = [
        ("a", "base", "ndcg@10", 0.1, 0.05, 0.15, True),
        ("b", "base", "ndcg@10", 0.1, -0.05, 0.25, False),
        ("c", "base", "ndcg@10", -0.2, -0.3, -0.1, True),
        ("a", "other", "ndcg@10", 0.7, 0.6, 0.8, True),
    ]
    names = ["system", "against", "metric", "difference", "low", "high", "significant"]
    text = interval_table(pl.DataFrame(rows, schema=names, orient="row"), "base")
    assert '<span class="better">▲ +0.100 [+0.050, +0.150]</span>' in text
    assert '<span class="">+0.100 [-0.050, +0.250]</span>' in text
    assert '<span class="worse">▼ -0.200 [-0.300, -0.100]</span>' in text
    assert "0.700" not in text


def test_notices_are_paragraphs_below_the_statistics() -> None:
    text = statistics(data={"users": 1200, "notices": ["no <b>"]}, split={"share": 0.5})
    assert "<p>no &lt;b&gt;</p>" in text
    assert "1,200" in text
    assert "notices" not in text


def test_parameters_have_dotted_keys() -> None:
    assert flatten({"a": 1, "b": {"c": [1, "d"]}}, "x") == [("x.a", "1"), ("x.b.c", "1, d")]
    assert flatten([True, None], "x") == [("x", "true, null")]


def test_a_path_of_this_machine_is_shown_by_its_last_part() -> None:
    (text,) = parameters({"data": {"source": "/home/reader/books", "other": "ml-1m"}})
    assert "…/books" in text
    assert "reader" not in text
    assert "ml-1m" in text


def test_seconds_come_from_the_log_of_a_run() -> None:
    log = """Running stage 'a@x':
> python -m stages.a x
noise 1.5 s
a@x: 1,000 rows -> 3, 12.5 s

Running stage 'b':
error: c: is wrong
Running stage 'embeddings@id':
embeddings: 5 movies of 3 numbers, 0.1 s
"""
    table = stage_seconds(log)
    assert table.rows() == [("a@x", 12.5), ("embeddings@id", 0.1)]
    text = timing_table(table, 1)
    assert [part in text for part in ("a@x", "12.5", "1 others", "12.6")] == [True] * 4
