"""Stage: compute a retriever's vectors of every movie and every user, for every snapshot."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.files import read_arrays
from stages.common.stage import run_stage
from stages.common.tables import embeddings_schema, write_table
from stages.data.snapshots import SNAPSHOTS, read_histories, read_seen
from stages.models.towers import movie_embeddings
from stages.models.user_vectors import user_embeddings


def embedding_table(key: str, ids: np.ndarray, vectors: np.ndarray) -> pl.DataFrame:
    """Return a table of ids and float32 vectors; `key` is the name of the id column."""
    return pl.DataFrame({key: ids, "embedding": np.ascontiguousarray(vectors, dtype=np.float32)})


def main(name: str, models: Path, histories: Path, seen: Path, embeddings: Path) -> str:
    """Write movies.parquet and users.parquet of the retriever `name` for every snapshot."""
    shapes = {}
    for snapshot in SNAPSHOTS:
        arrays = read_arrays(models / name / f"{snapshot}.npz")
        users = read_histories(histories, snapshot)
        for kind, (ids, vectors) in {
            "movie": movie_embeddings(arrays),
            "user": user_embeddings(arrays, users, read_seen(seen, snapshot)),
        }.items():
            key = f"{kind}_id"
            schema = embeddings_schema(key, vectors.shape[1])
            path = embeddings / name / snapshot / f"{kind}s.parquet"
            write_table(embedding_table(key, ids, vectors), path, schema)
            shapes[kind] = vectors.shape
    return ", ".join(f"{n:,} {kind}s of {d} dimensions" for kind, (n, d) in shapes.items())


if __name__ == "__main__":
    run_stage(main)
