import json
from pathlib import Path

import polars as pl
import pytest

from stages.beyond_accuracy import later_low_ratings
from stages.common.stage import StageError
from stages.common.tables import HISTORIES, RATINGS, RECOMMENDATIONS, write_table
from tests.conftest import edit_params
from tests.small_tables import ranked_lists
from tests.stages.results import (
    CANDIDATES,
    METRICS,
    SYSTEMS,
    USERS,
    run_beyond_accuracy,
    run_evaluate,
    write_results,
)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_results(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_evaluate()
    return tmp_path


def test_every_system_has_every_quality_with_an_interval_around_it(results: Path) -> None:
    run_beyond_accuracy()
    board = json.loads((METRICS / "beyond_accuracy.json").read_text())
    assert list(board) == SYSTEMS
    names = list(board["popularity"])
    assert names[0] == "novelty@10"
    assert names[-1] == "gini@10"
    table = pl.read_csv(METRICS / "beyond_accuracy.csv")
    assert table.height == len(SYSTEMS) * (len(names) - 1)
    assert (
        table.filter((pl.col("low") > pl.col("value")) | (pl.col("value") > pl.col("high"))).height
        == 0
    )
    text = (METRICS / "beyond_accuracy.md").read_text().splitlines()
    assert len(text) == 2 + len(SYSTEMS)
    assert len({len(line) for line in text}) == 1


def test_disliked_counts_the_movies_that_are_rated_low_after_the_query(results: Path) -> None:
    run_beyond_accuracy()
    board = json.loads((METRICS / "beyond_accuracy.json").read_text())
    for system in ("popularity", "ease"):
        lists = pl.read_parquet(CANDIDATES / system / "test.parquet")
        top = lists.filter(pl.col("rank") <= 10)
        users = top.filter(movie_id=30)["user_id"].n_unique()
        assert 0 < users < USERS
        assert board[system]["disliked@10"] == pytest.approx(users / USERS, abs=1e-6)


def test_ten_movies_of_a_list_count(results: Path) -> None:
    # The disliked movie 30 is the tenth of every second user's list, the eleventh of the others.
    rows = [
        (user, movie, rank)
        for user in range(1, USERS + 1)
        for rank, movie in enumerate([*range(1, 10 + user % 2), 30], start=1)
    ]
    write_table(ranked_lists(rows), CANDIDATES / "ease" / "test.parquet", RECOMMENDATIONS)
    run_beyond_accuracy()
    board = json.loads((METRICS / "beyond_accuracy.json").read_text())
    assert board["ease"]["disliked@10"] == 0.5


def test_popularity_is_never_serendipitous(results: Path) -> None:
    run_beyond_accuracy()
    board = json.loads((METRICS / "beyond_accuracy.json").read_text())
    assert board["popularity"]["serendipity@10"] == 0
    assert any(row["serendipity@10"] > 0 for row in board.values())


def test_a_low_rating_is_later_from_the_second_of_the_newest_positive_on() -> None:
    rows = [(1, 5, 2.0, 9, 0), (1, 6, 1.0, 10, 0), (1, 7, 3.5, 11, 0), (1, 8, 4.0, 12, 0)]
    ratings = pl.DataFrame([*rows, (3, 5, 1.0, 99, 0)], schema=RATINGS, orient="row")
    queries = pl.DataFrame(
        [(1, 1, 1, [2], [10]), (70, 1, 2, [2, 3], [10, 11])], schema=HISTORIES, orient="row"
    )
    table = later_low_ratings(ratings, queries, 4.0).select("user_id", "movie_id")
    assert sorted(table.rows()) == [(1, 6), (1, 7), (70, 7)]


def test_unknown_item_vectors_are_refused(results: Path) -> None:
    edit_params(results, evaluate__item_vectors="../history")
    message = r"^evaluate\.item_vectors: is '\.\./history'; use one of id, genre, hard_neg"
    with pytest.raises(StageError, match=message):
        run_beyond_accuracy()


def test_the_baseline_may_not_be_excluded(results: Path) -> None:
    edit_params(results, leaderboard__exclude=["popularity"])
    with pytest.raises(StageError, match=r"^generators\.popularity: is missing or excluded"):
        run_beyond_accuracy()
