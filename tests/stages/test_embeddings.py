from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import embeddings
from stages.common.files import read_arrays, write_arrays
from stages.common.tables import embeddings_schema, read_table
from stages.data.snapshots import SNAPSHOTS, read_histories
from stages.embeddings import embedding_table
from stages.models.towers import movie_embeddings
from stages.models.user_vectors import fold_in


def test_an_embedding_table_has_float32_arrays() -> None:
    table = embedding_table("movie_id", np.array([3, 4], np.int32), np.eye(2, 17))
    assert table.schema == embeddings_schema("movie_id", 17)
    assert table["embedding"].to_numpy().tolist() == np.eye(2, 17).tolist()


@pytest.mark.parametrize("name", ["id", "history"])
def test_every_snapshot_has_the_vectors_of_its_model(
    name: str, tiny_run: Path, tmp_path: Path
) -> None:
    data = tiny_run / "data"
    models = data / "models" / "retrievers"
    embeddings.main(name, models, data / "histories", data / "seen", tmp_path)
    for snapshot in SNAPSHOTS:
        ids, vectors = movie_embeddings(read_arrays(models / name / f"{snapshot}.npz"))
        movies = read_table(tmp_path / name / snapshot / "movies.parquet")
        assert movies["movie_id"].to_list() == ids.tolist()
        assert np.array_equal(movies["embedding"].to_numpy(), vectors)
        users = read_table(tmp_path / name / snapshot / "users.parquet")
        histories = read_histories(data / "histories", snapshot)
        assert users["user_id"].to_list() == histories["user_id"].to_list()
        assert users.schema == embeddings_schema("user_id", vectors.shape[1])


def test_a_user_whom_the_model_was_not_trained_on_has_a_vector_too(
    tiny_run: Path, tmp_path: Path
) -> None:
    data, models = tiny_run / "data", tmp_path / "models"
    new_users = [3, 7, 60]
    for snapshot in SNAPSHOTS:
        arrays = read_arrays(data / "models" / "retrievers" / "id" / f"{snapshot}.npz")
        is_old = ~np.isin(arrays["user_ids"], new_users)
        old = {"user_ids": arrays["user_ids"][is_old], "user": arrays["user"][is_old]}
        write_arrays(arrays | old, models / "id" / f"{snapshot}.npz")
    embeddings.main("id", models, data / "histories", data / "seen", tmp_path)
    for snapshot in SNAPSHOTS:
        histories = read_histories(data / "histories", snapshot)
        users = read_table(tmp_path / "id" / snapshot / "users.parquet")
        assert users["user_id"].to_list() == histories["user_id"].to_list()
        arrays = read_arrays(models / "id" / f"{snapshot}.npz")
        new_histories = histories.filter(pl.col("user_id").is_in(new_users))
        new = users.filter(pl.col("user_id").is_in(new_users))["embedding"].to_numpy()
        assert len(new) == new_histories.height > 0
        parts = (fold_in(arrays, new_histories, recency) for recency in (0, 1))
        assert arrays["recency"] == 1
        assert np.allclose(new[:, :-1], sum(parts) / 2, atol=1e-6)
        assert np.abs(new[:, :-1]).max(axis=1).min() > 0
