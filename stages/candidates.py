"""Stage: search a retriever's index for each user's best unseen movies."""

from pathlib import Path

import faiss
import numpy as np
import polars as pl

from stages.common.checksums import check_files
from stages.common.params import load_params
from stages.common.stage import run_stage
from stages.common.tables import RECOMMENDATIONS, read_table, write_table
from stages.data.snapshots import TARGET_SNAPSHOTS, read_seen
from stages.models.top_k import (
    CandidateParams,
    UserBatch,
    batch_users_by_seen,
    concat_user_lists,
    take_unseen,
)
from stages.parallel.executor import parallel_map


def search_unseen(
    index: faiss.Index,
    users: np.ndarray,
    queries: np.ndarray,
    seen: pl.DataFrame,
    count: int,
) -> pl.DataFrame:
    """Return `count` unseen movies for each user as RECOMMENDATIONS.

    A batch searches as many more movies as its busiest user has seen, then drops the seen ones.

    Args:
        index: From the stage `faiss_index`; it returns movie ids.
        users: [users] ids, ascending.
        queries: [users, d] float32 vectors.
        seen: SEEN.
        count: Movies per user.
    """
    batches = batch_users_by_seen(users, seen)

    def batch_lists(batch: UserBatch) -> pl.DataFrame:
        if len(batches) > 1:
            faiss.omp_set_num_threads(1)  # for this thread; each batch has a thread
        k = min(count + batch.max_seen, index.ntotal)
        scores, movies = index.search(np.ascontiguousarray(queries[batch.positions]), k)
        if index.metric_type == faiss.METRIC_L2:
            scores = -scores  # a distance: smaller is better
        return take_unseen(users[batch.positions], movies, scores, batch.seen, count)

    return concat_user_lists(list(parallel_map(batch_lists, batches, "batches of users")))


def main(name: str, index: Path, embeddings: Path, seen: Path, candidates: Path) -> str:
    """Write RECOMMENDATIONS of the retriever `name` for every snapshot with targets."""
    count = load_params(CandidateParams, "candidates").count
    rows = 0
    check_files(index / name)
    for snapshot in TARGET_SNAPSHOTS:
        users = read_table(embeddings / name / snapshot / "users.parquet").sort("user_id")
        lists = search_unseen(
            faiss.read_index(str(index / name / f"{snapshot}.faiss")),
            users["user_id"].to_numpy(),
            users["embedding"].to_numpy(),
            read_seen(seen, snapshot),
            count,
        )
        write_table(lists, candidates / name / f"{snapshot}.parquet", RECOMMENDATIONS)
        rows += lists.height
    return f"{users.height:,} queries -> {rows:,} candidates of {len(TARGET_SNAPSHOTS)} snapshots"


if __name__ == "__main__":
    run_stage(main)
