"""The lists that are measured beside their costs, and the table."""

import polars as pl
import pytest

from benchmarks.costs.__main__ import DATA_STEPS, TASKS, Result, row, table, unseen_lists
from stages.data.pairs import sorted_pair_keys


def test_movies_that_a_user_has_rated_leave_the_lists_and_the_ranks_close_up():
    columns = {"user_id": [2, 1, 1, 1], "movie_id": [7, 7, 8, 9], "score": [0.5, 0.9, 0.3, 0.6]}
    seen = pl.DataFrame({"user_id": [1], "movie_id": [7]})
    lists = unseen_lists(pl.DataFrame(columns), sorted_pair_keys(seen))
    assert lists.select("user_id", "movie_id", "rank").rows() == [(1, 9, 1), (1, 8, 2), (2, 7, 1)]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_has_the_seconds_and_memory_as_multiples_of_this_project():
    own = Result(fit=2.0, lists=2.0, gib=0.5, metric=0.1)
    other = Result(fit=30.0, lists=10.0, gib=2.0, metric=0.09)
    line = row("EASE: RecTools", other, own)
    assert cells(line) == ["EASE: RecTools", "30.0", "10.0", "2.0", "0.0900", "10.0", "4.0"]
    assert cells(row("EASE: this project", own, own))[5:] == ["", ""]


@pytest.mark.parametrize("own", [Result(2.0, 2.0, 0.5, 0.1), "failed (1)"])
def test_a_step_without_success_says_why(own):
    assert cells(row("EASE: LensKit", "over 600 s", own))[:2] == ["EASE: LensKit", "over 600 s"]


def test_the_table_has_every_step_once():
    names = [f"{who} {step}" for who in ("own", "pandas") for step in DATA_STEPS]
    names += [name for models in TASKS.values() for name in models]
    results = {name: Result(1.0, None, 1.0, None) for name in names}
    lines = table(results)
    assert len(lines[1:]) == len(names)
    assert len({line.count("|") for line in "\n".join(lines).splitlines()}) == 1
