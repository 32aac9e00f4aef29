"""The figures of the validation targets, and that no ranker has learned from its users there."""

import contextlib
import json
from pathlib import Path

import polars as pl
import pytest

from stages import validate
from stages.common.files import read_csv
from stages.common.systems import system_names
from stages.common.tables import RECOMMENDATIONS, TARGETS
from stages.data.snapshots import read_histories, read_seen
from stages.evaluation.accuracy import MAIN_METRICS
from stages.validate import user_values
from tests.tiny_chain import CANDIDATES, DATA, HISTORIES, SEEN
from tests.tiny_chain import RECOMMENDATIONS as LISTS
from tests.tiny_chain import TARGETS as TARGET_FOLDER


def test_users_without_a_list_are_not_measured() -> None:
    lists = [(1, 10, 0.9, 1), (1, 20, 0.5, 2), (2, 20, 0.7, 1)]
    recommendations = pl.DataFrame(lists, schema=RECOMMENDATIONS, orient="row")
    targets = pl.DataFrame(
        [(1, 1, 4, 20), (2, 2, 3, 30), (3, 3, 3, 20)], schema=TARGETS, orient="row"
    )
    values = user_values(recommendations, targets)
    assert values["user_id"].to_list() == [1, 2]
    assert values["recall@10"].to_list() == [1, 0]
    assert values["ndcg@10"].to_list() == pytest.approx([1 / 1.5849625, 0])


@pytest.fixture(scope="module")
def validated(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("validation")
    with contextlib.chdir(tiny_run):
        validate.main(
            candidates=CANDIDATES,
            recommendations=LISTS,
            targets=TARGET_FOLDER / "val.parquet",
            histories=HISTORIES,
            metrics=folder / "validation.json",
            interval_table=folder / "validation.csv",
            values=folder / "validation.parquet",
        )
    return folder


def test_every_system_is_measured_on_all_users_who_have_a_target(
    validated: Path, tiny_run: Path
) -> None:
    means = json.loads((validated / "validation.json").read_text())
    with contextlib.chdir(tiny_run):
        assert list(means) == system_names()
        queries = read_histories(HISTORIES, "val")
        targets = pl.read_parquet(TARGET_FOLDER / "val.parquet")
        lists = pl.read_parquet(CANDIDATES / "ease" / "val.parquet")
    assert {row["users"] for row in means.values()} == {queries.height}
    hits = targets.join(lists.filter(pl.col("rank") <= 10), on=["user_id", "movie_id"])
    assert means["ease"]["recall@10"] == pytest.approx(hits.height / queries.height, abs=1e-6)
    assert 0 < means["ranker_history"]["ndcg@10"] < 1


def test_intervals_hold_the_means(validated: Path) -> None:
    table = read_csv(validated / "validation.csv")
    means = json.loads((validated / "validation.json").read_text())
    for row in table.iter_rows(named=True):
        assert row["low"] <= row["value"] <= row["high"]
        assert row["value"] == pytest.approx(means[row["system"]][row["metric"]], abs=2e-6)
    assert table.height == len(means) * len(MAIN_METRICS)
    assert (table["low"] < table["high"]).any()


def test_no_list_of_the_validation_holds_a_seen_movie(tiny_run: Path) -> None:
    with contextlib.chdir(tiny_run):
        seen = read_seen(SEEN, "val")
        for path in DATA.glob("recommendations/*/val.parquet"):
            lists = pl.read_parquet(path)
            assert lists.height
            assert lists.join(seen, on=["user_id", "movie_id"], how="semi").is_empty()
