import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import fusion, histories
from stages.common.stage import StageError
from stages.data.snapshots import TEST_SNAPSHOT, read_positives, read_seen
from stages.export import read_settings
from stages.models.top_k import CandidateParams
from stages.models.towers import movie_embeddings
from stages.serving.bundle import SCHEMA, Settings, read_bundle
from tests.conftest import ROOT, edit_params
from tests.serving.bundles import export_ranker, file_contents
from tests.tiny_chain import export_bundle


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the default params.yaml, which is the current one."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_equal_models_are_equal_bytes(tiny_run: Path, tmp_path: Path) -> None:
    bundle = export_ranker(tiny_run, "history", tmp_path)
    assert file_contents(bundle) == file_contents(tiny_run / "data" / "bundle")


def test_a_ranker_of_one_generator_needs_the_index_of_its_retriever_only(
    tiny_run: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(export_ranker(tiny_run, "basic", tmp_path))
    assert bundle.settings.generators == ["history"]
    assert list(bundle.indexes) == ["history"]


def test_the_bundle_knows_all_positives_and_ratings(tiny_run: Path) -> None:
    data = tiny_run / "data"
    tables = read_bundle(data / "bundle").tables
    keys = ["user_id", "movie_id"]
    positives = pl.read_parquet(data / "positives.parquet")
    assert set(tables["positives"].select(keys).rows()) == set(positives.select(keys).rows())
    ratings = pl.read_parquet(data / "ratings.parquet")
    rated = ratings.join(positives, on="user_id", how="semi").select(keys)
    assert set(tables["seen"].select(keys).rows()) == set(rated.rows())
    sizes = positives.group_by("user_id").len("history_length").sort("user_id")
    histories = tables["histories"]
    assert histories.select(sizes.columns).cast(pl.Int64).equals(sizes.cast(pl.Int64))


def test_the_bundle_as_evaluated_knows_the_positives_of_the_test_snapshot(tiny_run: Path) -> None:
    tables = read_bundle(tiny_run / "data" / "bundle_as_evaluated").tables
    assert tables["positives"].equals(
        read_positives(tiny_run / "data" / "histories", TEST_SNAPSHOT)
    )
    targets = pl.read_parquet(tiny_run / "data" / "split" / "test.parquet")
    keys = ["user_id", "movie_id"]
    assert targets.height
    assert targets.join(tables["positives"], on=keys, how="semi").is_empty()


def test_the_bundle_knows_the_seen_movies_of_its_users(tiny_run: Path) -> None:
    tables = read_bundle(tiny_run / "data" / "bundle_as_evaluated").tables
    assert tables["seen"].equals(read_seen(tiny_run / "data" / "seen", TEST_SNAPSHOT))
    assert set(tables["seen"]["user_id"]) == set(tables["histories"]["user_id"])
    assert 0 < tables["seen"]["positive"].sum() < tables["seen"].height


def test_a_user_is_served_as_of_the_first_query(tiny_run: Path, tmp_path: Path) -> None:
    # User 4 has a second query, after one more movie.
    run, user, query = Path(shutil.copytree(tiny_run, tmp_path / "run")), 4, 1001
    paths = [run / "data" / name / f"{TEST_SNAPSHOT}.parquet" for name in ("histories", "seen")]
    histories, seen = (pl.read_parquet(path) for path in paths)
    is_user, new_id = pl.col("user_id") == user, pl.lit(query, dtype=pl.Int32).alias("user_id")
    later = histories.filter(is_user).with_columns(new_id, pl.col("history_length") + 1)
    pl.concat([histories, later]).write_parquet(paths[0])
    later_seen = seen.filter(is_user).with_columns(new_id)
    assert later_seen.height > 3
    pl.concat([seen, later_seen]).write_parquet(paths[1])
    with contextlib.chdir(run):
        export_bundle(Path("data/again"))
    bundle = tiny_run / "data" / "bundle_as_evaluated"
    assert file_contents(run / "data/again_as_evaluated") == file_contents(bundle)


def test_the_movie_vectors_are_those_of_the_index(tiny_run: Path) -> None:
    bundle = read_bundle(tiny_run / "data" / "bundle")
    for name, index in bundle.indexes.items():
        ids, vectors = movie_embeddings(bundle.arrays[name])
        for movie, vector in zip(ids, vectors):
            if movie in bundle.arrays[name]["movie_ids"]:
                assert np.array_equal(index.reconstruct(int(movie)), vector)


@pytest.mark.parametrize(
    "name", ["index/id/test.faiss", "index/id/serve.faiss", "models/rankers/history/1.txt"]
)
def test_a_damaged_model_is_not_exported(tiny_run: Path, tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    path = run / "data" / name
    path.write_bytes(path.read_bytes()[:-100])
    with contextlib.chdir(run), pytest.raises(StageError, match=f"^data/{name}: does not match"):
        export_bundle(Path("data/again"))
    assert not (run / "data/again").exists()


def test_settings_have_the_bounds_of_their_params(params: Path) -> None:
    fields = {
        "candidates": CandidateParams.model_fields["count"],
        "max_candidates": fusion.Params.model_fields["max_candidates"],
        "fusion_k": fusion.Params.model_fields["k"],
        "max_length": histories.Params.model_fields["max_length"],
    }
    for name, field in fields.items():
        assert Settings.model_fields[name].metadata == field.metadata
    edit_params(params, histories__max_length=0)
    with pytest.raises(StageError, match=r"^histories.max_length: is 0; use 1 to 10000$"):
        read_settings()


def test_settings_are_the_params_of_the_exported_ranker(params: Path, tiny_run: Path) -> None:
    names = ["item_knn", "ease", "slit", "id", "genre", "hard_negative", "history"]
    assert read_settings().generators == names
    edit_params(params, fusion__exclude=["ease", "id"], rankers__history__retriever="genre")
    settings = read_settings()
    assert settings.ranker == "history"
    others = ["popularity", "popularity_recent", "item_knn", "slit", *names[4:]]
    assert settings.generators == others
    assert settings.retriever == "genre"
    with contextlib.chdir(tiny_run):
        schema = json.loads(Path("data/bundle", SCHEMA).read_text())
        assert schema["settings"] == read_settings().model_dump()


def test_an_unknown_ranker_is_refused(params: Path) -> None:
    edit_params(params, export__ranker="../history")
    message = r"^export.ranker: is '../history'; use one of basic, history, hit$"
    with pytest.raises(StageError, match=message):
        read_settings()


def test_a_ranker_of_unknown_candidates_is_refused(params: Path) -> None:
    edit_params(params, rankers__history__candidates="candidates/histroy")
    message = r"rankers.history.candidates: is 'candidates/histroy'; use merged or candidates/<gen"
    with pytest.raises(StageError, match=message):
        read_settings()
