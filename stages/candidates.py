"""Stage: search the index for each user's best unseen movies, for each fold."""

from pathlib import Path

import faiss
import numpy as np
import polars as pl

from stages.common.params import load_params
from stages.common.stage import run_stage
from stages.common.tables import RECOMMENDATIONS, read_table, write_table
from stages.engine import over
from stages.folds import FOLDS, folds
from stages.top_k import CandidateParams, UserBatch, best_unseen, in_order, user_batches


def search_unseen(
    index: faiss.Index, users: np.ndarray, queries: np.ndarray, likings: pl.DataFrame, count: int
) -> pl.DataFrame:
    """RECOMMENDATIONS of `count` unseen movies for each user.

    Each batch asks for as many more movies as its busiest user has seen, then drops the seen.

    Args:
        index: Answers with movie ids.
        users: [users] ids, ascending.
        queries: [users, d] float32 vectors.
        likings: What users have seen.
        count: Movies per user.
    """
    batches = user_batches(users, likings)

    def part(batch: UserBatch) -> pl.DataFrame:
        if len(batches) > 1:
            faiss.omp_set_num_threads(1)  # of this thread; the others search too
        k = min(count + batch.longest, index.ntotal)
        scores, movies = index.search(np.ascontiguousarray(queries[batch.places]), k)
        if index.metric_type == faiss.METRIC_L2:
            scores = -scores  # a distance: smaller is better
        return best_unseen(users[batch.places], movies, scores, batch.seen, count)

    return in_order(list(over(part, batches, "batches of users")))


def main(
    index: Path, embeddings: Path, train: Path, val: Path, histories: Path, recommendations: Path
) -> str:
    """Write RECOMMENDATIONS for each fold."""
    count = load_params(CandidateParams, "candidates").count
    rows = 0
    for fold, likings, _ in folds(train, val, histories):
        users = read_table(embeddings / fold / "users.parquet").sort("user_id")
        searched = faiss.read_index(str(index / f"{fold}.faiss"))
        queries = users["embedding"].to_numpy()
        lists = search_unseen(searched, users["user_id"].to_numpy(), queries, likings, count)
        write_table(lists, recommendations / f"{fold}.parquet", RECOMMENDATIONS)
        rows += lists.height
    return f"{users.height:,} users -> {rows:,} candidates of {len(FOLDS)} folds"


if __name__ == "__main__":
    run_stage(main)
