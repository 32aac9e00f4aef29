"""Stage: index a retriever's movie vectors for nearest-neighbour search, for every snapshot."""

from pathlib import Path
from typing import Literal

import faiss
import numpy as np
import polars as pl
from pydantic import Field

from stages.common.checksums import write_checksums
from stages.common.params import Section, load_params
from stages.common.stage import atomic_write, run_stage
from stages.common.tables import POPULARITY, read_table
from stages.data.snapshots import SNAPSHOTS
from stages.parallel.process import thread_count


class Params(Section):
    """FAISS's own parameters."""

    kind: Literal["flat", "hnsw", "ivf"]
    """The index: flat is exact, hnsw and ivf are approximate."""

    metric: Literal["inner_product", "l2"]
    """Similarity of a query and a movie; the towers are trained for the inner product."""

    M: int = Field(ge=2, le=512)
    """Links per movie of an hnsw index."""

    efSearch: int = Field(ge=1, le=1_000_000)  # noqa: N815
    """Size of the list that an hnsw search explores; a longer one finds more true neighbours."""

    nlist: int = Field(ge=1, le=1_000_000)
    """Clusters of an ivf index."""

    nprobe: int = Field(ge=1, le=1_000_000)
    """Clusters that an ivf search visits."""


def build_index(ids: np.ndarray, vectors: np.ndarray, params: Params) -> faiss.Index:
    """Return an index over [movies, d] float32 vectors that returns the [movies] ids."""
    is_l2 = params.metric == "l2"
    metric = faiss.METRIC_L2 if is_l2 else faiss.METRIC_INNER_PRODUCT
    d = vectors.shape[1]
    if params.kind == "hnsw":
        index = faiss.IndexHNSWFlat(d, params.M, metric)
        index.hnsw.efSearch = params.efSearch
    elif params.kind == "ivf":
        nlist = min(params.nlist, max(1, len(ids) // 39))  # FAISS asks for 39 vectors per cluster
        index = faiss.IndexIVFFlat(faiss.IndexFlat(d, metric), d, nlist, metric)
        index.nprobe = min(params.nprobe, nlist)
    else:
        index = faiss.IndexFlat(d, metric)
    # With several threads, HNSW's links depend on the order in which the threads finish.
    faiss.omp_set_num_threads(1 if params.kind == "hnsw" else thread_count())
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if not index.is_trained:
        index.train(vectors)
    id_index = faiss.IndexIDMap2(index)
    id_index.add_with_ids(vectors, ids.astype(np.int64))
    return id_index


def main(name: str, embeddings: Path, popularity: Path, index: Path) -> str:
    """Index every movie with a positive: by the evaluation protocol, these are the candidates.

    `name` is the retriever.
    """
    params = load_params(Params, "faiss")
    for snapshot in SNAPSHOTS:
        counts = read_table(popularity / f"{snapshot}.parquet", POPULARITY)
        candidates = counts.filter(pl.col("positives") > 0).select("movie_id")
        table = read_table(embeddings / name / snapshot / "movies.parquet")
        table = table.join(candidates, on="movie_id", how="semi").sort("movie_id")
        movies = build_index(table["movie_id"].to_numpy(), table["embedding"].to_numpy(), params)
        with atomic_write(index / name / f"{snapshot}.faiss") as temporary:
            temporary.write_bytes(faiss.serialize_index(movies))
    write_checksums(index / name)
    return f"{movies.ntotal:,} movies, {params.kind}"


if __name__ == "__main__":
    run_stage(main)
