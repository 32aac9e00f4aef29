import dataclasses
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.common.stage import StageError
from stages.common.tables import HISTORIES
from stages.data.snapshots import SNAPSHOTS, read_positives
from stages.models.top_k import take_unseen
from stages.ranking.inputs import as_merged, read_context
from tests.tiny_chain import FEATURE_SOURCES
from tests.tiny_chain import HISTORIES as HISTORIES_FOLDER


def test_the_lists_of_one_generator_become_merged_candidates() -> None:
    lists = take_unseen(np.array([1]), np.array([[7, 3]]), np.array([[2.0, 1.0]]), np.empty(0), 9)
    merged = as_merged(lists, "history")
    assert merged.columns == ["user_id", "movie_id", "score_history", "rank_history"]
    assert merged["movie_id"].to_list() == [3, 7]
    assert as_merged(merged, "history") is merged


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_a_context_has_only_what_its_snapshot_knows(
    snapshot: str, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_run)
    histories, context = read_context(FEATURE_SOURCES, "history", snapshot)
    assert histories.schema == HISTORIES
    positives = read_positives(HISTORIES_FOLDER, snapshot)
    assert len(context.positive_times) == context.positive_counts.sum() == positives.height
    assert set(context.item_item) == {"item_knn", "ease", "slit"}  # popularity has no weights
    counts = positives.group_by("movie_id").len().sort("movie_id")
    index = np.searchsorted(context.movie_ids, counts["movie_id"].to_numpy())
    assert context.positive_counts[index].tolist() == counts["len"].to_list()
    users, vectors = context.user_vectors
    assert users.tolist() == histories["user_id"].to_list()
    assert len(vectors) == len(users)


@pytest.mark.parametrize("name", ["catalogue.parquet", "popularity/test.parquet"])
def test_a_table_of_other_columns_is_refused(
    name: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_run)
    movies = Path(shutil.copytree(FEATURE_SOURCES.movies, tmp_path / "movies"))
    table = pl.read_parquet(movies / name)
    table.with_columns(more=pl.lit(1)).write_parquet(movies / name)
    sources = dataclasses.replace(FEATURE_SOURCES, movies=movies)
    with pytest.raises(StageError, match=rf"^{movies / name}: has columns "):
        read_context(sources, "history", "test")


def test_the_model_of_a_removed_generator_is_refused(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_run)
    sources = dataclasses.replace(FEATURE_SOURCES, generators=tmp_path)
    (tmp_path / "gone").mkdir()
    with pytest.raises(StageError, match=r"gone: belongs to no block of params\.yaml; delete it"):
        read_context(sources, "history", "test")
