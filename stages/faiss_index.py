"""Stage: index a retriever's movie vectors for nearest-neighbour search, for each fold."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Literal

import faiss
import numpy as np
import polars as pl

from stages.common.params import Range, load_params
from stages.common.stage import run_stage, whole_file
from stages.common.tables import POPULARITY, read_table
from stages.folds import FOLDS


@dataclasses.dataclass(frozen=True)
class Params:
    """`kind`: flat is exact, hnsw and ivf are approximate; `metric`: the towers are trained for
    the inner product. `hnsw_links`, `ivf_lists` and `probes` belong to one kind each; `probes` is
    how widely an approximate search looks.
    """

    kind: Literal["flat", "hnsw", "ivf"]
    metric: Literal["inner_product", "l2"]
    hnsw_links: Annotated[int, Range(2, 512)]
    ivf_lists: Annotated[int, Range(1, 1_000_000)]
    probes: Annotated[int, Range(1, 1_000_000)]


def build_index(ids: np.ndarray, vectors: np.ndarray, params: Params) -> faiss.Index:
    """An index over [movies, d] float32 vectors that answers with the [movies] ids."""
    inner = params.metric == "inner_product"
    metric = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
    d = vectors.shape[1]
    if params.kind == "hnsw":
        index = faiss.IndexHNSWFlat(d, params.hnsw_links, metric)
        index.hnsw.efSearch = params.probes
    elif params.kind == "ivf":
        lists = min(params.ivf_lists, max(1, len(ids) // 39))  # FAISS wants 39 vectors a list
        index = faiss.IndexIVFFlat(faiss.IndexFlat(d, metric), d, lists, metric)
        index.nprobe = min(params.probes, lists)
    else:
        index = faiss.IndexFlat(d, metric)
    # With several threads HNSW links in the order in which they happen to finish.
    faiss.omp_set_num_threads(1 if params.kind == "hnsw" else os.cpu_count() or 1)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if not index.is_trained:
        index.train(vectors)
    mapped = faiss.IndexIDMap2(index)
    mapped.add_with_ids(vectors, ids.astype(np.int64))
    return mapped


def main(embeddings: Path, popularity: Path, index: Path) -> str:
    """Index every movie that somebody liked: the candidates of the protocol."""
    params = load_params(Params, "faiss")
    for fold in FOLDS:
        liked = read_table(popularity / f"{fold}.parquet", POPULARITY).filter(pl.col("likings") > 0)
        table = read_table(embeddings / fold / "movies.parquet")
        table = table.join(liked.select("movie_id"), on="movie_id", how="semi").sort("movie_id")
        built = build_index(table["movie_id"].to_numpy(), table["embedding"].to_numpy(), params)
        path = index / f"{fold}.faiss"
        with whole_file(path) as temporary:
            temporary.write_bytes(faiss.serialize_index(built))
    return f"{built.ntotal:,} movies, {params.kind}"


if __name__ == "__main__":
    run_stage(main)
