"""The number of users in a batch changes no output of the stages that work in batches."""

from pathlib import Path

import polars as pl
import pytest

from stages import fit_generator, fusion, rerank
from stages.common import tables
from stages.models import item_item, top_k
from tests.tiny_chain import (
    CANDIDATES,
    DATA,
    FEATURE_SOURCES,
    HISTORIES,
    MODELS,
    RECOMMENDATIONS,
    SEEN,
)

USERS = 7


@pytest.fixture(autouse=True)
def small_batches(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the folder of the tiny run, which has all its users in one batch."""
    monkeypatch.setattr(tables, "READ_BATCH_USERS", USERS)
    monkeypatch.setattr(top_k, "SEARCH_BATCH_USERS", USERS)
    monkeypatch.setattr(item_item, "SCORE_BATCH_USERS", USERS)
    monkeypatch.chdir(tiny_run)


def assert_equal_tables(folder: Path, expected_folder: Path) -> None:
    paths = sorted(folder.glob("*.parquet"))
    assert paths
    for path in paths:
        expected = pl.read_parquet(expected_folder / path.name)
        assert pl.read_parquet(path).equals(expected), path
        assert expected["user_id"].n_unique() > USERS


@pytest.mark.parametrize("name", ["popularity", "popularity_recent", "item_knn", "ease", "slit"])
def test_the_lists_of_a_generator(name: str, tmp_path: Path) -> None:
    fit_generator.main(name, HISTORIES, SEEN, tmp_path / "models", tmp_path / "lists")
    assert_equal_tables(tmp_path / "lists" / name, CANDIDATES / name)


def test_the_merged_and_the_fused_lists(tmp_path: Path) -> None:
    fusion.main(CANDIDATES, tmp_path / "merged", tmp_path / "fused")
    assert_equal_tables(tmp_path / "merged", DATA / "merged")
    assert_equal_tables(tmp_path / "fused", RECOMMENDATIONS / "fusion")


def test_the_lists_of_a_ranker(tmp_path: Path) -> None:
    rerank.main("history", MODELS / "rankers", FEATURE_SOURCES, tmp_path)
    assert_equal_tables(tmp_path / "ranker_history", RECOMMENDATIONS / "ranker_history")
