from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import embeddings
from stages.common.files import read_arrays
from stages.common.tables import embeddings_schema, read_table
from stages.data.snapshots import SNAPSHOTS
from stages.embeddings import embedding_table
from stages.models.towers import movie_embeddings


def test_an_embedding_table_has_float32_arrays() -> None:
    table = embedding_table("movie_id", np.array([3, 4], np.int32), np.eye(2, 17))
    assert table.schema == embeddings_schema("movie_id", 17)
    assert table["embedding"].to_numpy().tolist() == np.eye(2, 17).tolist()


@pytest.mark.parametrize("name", ["id", "history"])
def test_every_snapshot_has_the_vectors_of_its_model(
    name: str, tiny_run: Path, tmp_path: Path
) -> None:
    data = tiny_run / "data"
    model = data / "models" / "retrievers" / name
    embeddings.main(model, data / "histories", tmp_path)
    for snapshot in SNAPSHOTS:
        ids, vectors = movie_embeddings(read_arrays(model / f"{snapshot}.npz"))
        movies = read_table(tmp_path / snapshot / "movies.parquet")
        assert movies["movie_id"].to_list() == ids.tolist()
        assert np.array_equal(movies["embedding"].to_numpy(), vectors)
        users = read_table(tmp_path / snapshot / "users.parquet")
        histories = pl.read_parquet(data / "histories" / f"{snapshot}.parquet")
        assert users["user_id"].to_list() == histories["user_id"].to_list()
        assert users.schema == embeddings_schema("user_id", vectors.shape[1])
