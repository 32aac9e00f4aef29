"""Stage: a trained retriever's vectors of every movie and every user, for each fold."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.files import read_arrays
from stages.common.stage import run_stage
from stages.common.tables import HISTORIES, embeddings_schema, read_table, write_table
from stages.folds import FOLDS
from stages.towers import serve_movies, serve_users


def embedding_table(key: str, ids: np.ndarray, vectors: np.ndarray) -> pl.DataFrame:
    """A table of ids and float32 vectors; `key` is the name of the id column."""
    return pl.DataFrame({key: ids, "embedding": np.ascontiguousarray(vectors, dtype=np.float32)})


def main(model: Path, histories: Path, embeddings: Path) -> str:
    """Write movies.parquet and users.parquet for each fold."""
    sizes = {}
    for fold in FOLDS:
        arrays = read_arrays(model / f"{fold}.npz")
        before = read_table(histories / f"{fold}.parquet", HISTORIES)
        served = {"movie": serve_movies(arrays), "user": serve_users(arrays, before)}
        for kind, (ids, vectors) in served.items():
            key = f"{kind}_id"
            table = embedding_table(key, ids, vectors)
            schema = embeddings_schema(key, vectors.shape[1])
            write_table(table, embeddings / fold / f"{kind}s.parquet", schema)
            sizes[kind] = vectors.shape
    return ", ".join(f"{n:,} {kind}s of {d} numbers" for kind, (n, d) in sizes.items())


if __name__ == "__main__":
    run_stage(main)
