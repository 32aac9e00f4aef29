import shutil
from pathlib import Path

import polars as pl
import pytest

from stages import ranker_data
from stages.common.stage import StageError
from stages.ranker_data import add_labels, sample_negatives
from tests.conftest import edit_params
from tests.stages.examples import noisy_examples
from tests.tiny_chain import FEATURE_SOURCES, HISTORIES, TARGETS


def test_a_target_that_was_not_retrieved_is_not_added() -> None:
    examples = pl.DataFrame({"user_id": [1, 1, 2], "movie_id": [5, 6, 5], "x": [1.0, 2.0, 3.0]})
    targets = pl.DataFrame({"user_id": [1, 2], "movie_id": [6, 9]})
    labelled = add_labels(examples, targets, drop_users_without_hit=False)
    assert labelled["label"].to_list() == [0, 1, 0]
    labelled = add_labels(examples, targets, drop_users_without_hit=True)
    assert labelled["user_id"].to_list() == [1, 1]
    with pytest.raises(StageError, match=r"^candidates.count: none of 2 targets was retrieved; "):
        add_labels(examples, targets.with_columns(movie_id=77), drop_users_without_hit=False)


def test_negatives_are_a_sample_of_the_asked_size_beside_the_targets() -> None:
    table = noisy_examples(users=50).drop("snapshot")
    sample = sample_negatives(table, 5, seed=3)
    assert sample.equals(sample_negatives(table, 5, seed=3))
    assert sample.filter(pl.col("label") == 1).equals(table.filter(pl.col("label") == 1))
    assert sample.group_by("user_id").len()["len"].to_list() == [6] * 50
    assert sample["user_id"].is_sorted()
    assert sample_negatives(table, 100, seed=3).equals(table)


def test_examples_have_a_label_and_the_features_of_the_groups_by_snapshot(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_run)
    summary = ranker_data.main("basic", FEATURE_SOURCES, TARGETS, tmp_path)
    examples = tmp_path / "basic"
    assert sorted(path.name for path in examples.iterdir()) == ["inner_val.parquet", "val.parquet"]
    table = pl.read_parquet(examples / "val.parquet")
    columns = ["user_id", "movie_id", "score_history", "label", "popularity_rank"]
    assert table.columns == [*columns, "source_user_id"]
    counts = [pl.read_parquet(examples / f"{s}.parquet").height for s in ("inner_val", "val")]
    assert summary == f"rows: inner_val {counts[0]}, val {counts[1]}; 6 columns"
    assert table["source_user_id"].equals(table["user_id"], null_equal=False)
    targets = pl.read_parquet(TARGETS / "val.parquet")
    hits = table.filter(pl.col("label") == 1)
    assert 0 < hits.height <= targets.height
    assert hits.join(targets, on=["user_id", "movie_id"], how="anti").is_empty()


def test_the_examples_of_a_query_have_its_user_in_the_ratings(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    monkeypatch.chdir(run)
    # As if every two queries were of one user.
    path = HISTORIES / "val.parquet"
    source = (pl.col("user_id") + 1) // 2
    table = pl.read_parquet(path).with_columns(source_user_id=source)
    table.write_parquet(path)
    ranker_data.main("basic", FEATURE_SOURCES, TARGETS, tmp_path)
    examples = pl.read_parquet(tmp_path / "basic" / "val.parquet")
    assert examples["user_id"].is_sorted()
    assert examples["source_user_id"].to_list() == examples.select(source)["user_id"].to_list()
    assert examples["source_user_id"].n_unique() < examples["user_id"].n_unique()


def test_an_unknown_feature_group_is_one_line(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text((tiny_run / "params.yaml").read_text())
    edit_params(tmp_path, rankers__basic__feature_groups=["score", "tower"])
    monkeypatch.chdir(tmp_path)
    message = r"^rankers.basic.feature_groups: 'tower' does not exist; use some of score, rank, "
    with pytest.raises(StageError, match=message):
        ranker_data.main("basic", FEATURE_SOURCES, TARGETS, tmp_path)
