"""Measure models of other libraries on this pipeline's split, beside its own systems.

    make peers

Reads a finished run in the working directory. Every model is fitted on all positives before the
test targets, and recommends 200 unseen movies to each user. The functions of `stages.evaluate`
measure their lists, as they do for the pipeline's systems. ALS has the best of 24 settings and BPR
the best of 4 (the library's defaults) on the validation targets of ml-100k. The other models have
common settings for data of this size. Nothing was tuned on the test targets.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from benchmarks.tables import header
from stages.common.files import read_json
from stages.common.params import load_params
from stages.common.tables import POPULARITY, RECOMMENDATIONS, TEST, read_table, write_table
from stages.data.pairs import cumcount_and_size
from stages.data.snapshots import TEST_SNAPSHOT, read_positives
from stages.evaluate import Params, build_ranks
from stages.evaluation.accuracy import MRR
from stages.evaluation.metrics import COVERAGE, list_metrics, mean_metrics
from stages.generators import ease
from stages.models.top_k import interaction_matrix, take_unseen, top_columns

COUNT = 200
MAX_EASE_MOVIES = 50_000
DATA, OUT = Path("data"), Path("benchmarks") / "out"
COLUMNS = [f"recall@{k}" for k in (1, 10, 20, 50, 200)]
COLUMNS += ["ndcg@10", "ndcg@20", MRR, COVERAGE]
FIT_SECONDS = "fit s"


class Positives:
    """All positives before the test targets, as a table and as a sparse matrix."""

    def __init__(self, histories: Path) -> None:
        self.table = read_positives(histories, TEST_SNAPSHOT)
        self.users = self.table["user_id"].unique().sort().to_numpy()
        self.movies = self.table["movie_id"].unique().sort().to_numpy()
        self.matrix = interaction_matrix(self.table, self.users, self.movies)

    def best_unseen(self, scores: np.ndarray) -> pl.DataFrame:
        """Return RECOMMENDATIONS of the best unseen movies by [users, movies] scores."""
        scores[self.matrix.nonzero()] = -np.inf
        columns, best = top_columns(scores, COUNT)
        ids = np.where(np.isfinite(best), self.movies[columns], -1)
        return take_unseen(self.users, ids, best, np.empty(0), COUNT)


def implicit_factors(positives: Positives, model: Any) -> pl.DataFrame:
    """Fit one of implicit's factor models, and score every movie."""
    model.fit(sp.csr_matrix(positives.matrix), show_progress=False)
    return positives.best_unseen(np.asarray(model.user_factors) @ np.asarray(model.item_factors).T)


def implicit_knn(positives: Positives) -> pl.DataFrame:
    """Fit implicit's BM25 item-to-item model."""
    from implicit.nearest_neighbours import BM25Recommender

    model = BM25Recommender(K=500)
    model.fit(sp.csr_matrix(positives.matrix), show_progress=False)
    scores = (positives.matrix @ model.similarity).toarray().astype(np.float32)
    return positives.best_unseen(scores)


def ease_lists(positives: Positives, regularization: float) -> pl.DataFrame:
    """Fit this pipeline's EASE on all movies; RecTools' EASE has the same weights."""
    params = ease.Params(regularization=regularization, max_movies=MAX_EASE_MOVIES)
    arrays = ease.fit(positives.table, params)
    return ease.recommend(arrays, positives.users, positives.table, COUNT)


def rectools_sasrec(positives: Positives, epochs: int, seed: int) -> pl.DataFrame:
    """Fit RecTools' SASRec: 64 dimensions, 2 blocks, 50 movies, full softmax."""
    import pandas as pd
    from pytorch_lightning import Trainer, seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    seed_everything(seed, verbose=False)
    position, _ = cumcount_and_size(positives.table["user_id"].to_numpy())
    interactions = pd.DataFrame(
        {
            Columns.User: positives.table["user_id"].to_numpy(),
            Columns.Item: positives.table["movie_id"].to_numpy(),
            Columns.Weight: 1.0,
            # RecTools sorts by time: the position in the user's order, as days, has no ties.
            Columns.Datetime: pd.to_datetime(position, unit="D"),
        }
    )
    dataset = Dataset.construct(interactions)

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=epochs,
            min_epochs=epochs,
            accelerator="cpu",
            deterministic=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
        )

    model = SASRecModel(
        n_factors=64,
        n_blocks=2,
        n_heads=2,
        session_max_len=50,
        dropout_rate=0.2,
        lr=0.001,
        batch_size=128,
        loss="softmax",
        get_trainer_func=trainer,
    )
    model.fit(dataset)
    lists = model.recommend(positives.users, dataset, k=COUNT, filter_viewed=True)
    names = {"user_id": Columns.User, "movie_id": Columns.Item}
    names |= {"score": Columns.Score, "rank": Columns.Rank}
    table = pl.DataFrame({ours: lists[theirs].to_numpy() for ours, theirs in names.items()})
    return table.cast(dict(RECOMMENDATIONS)).sort("user_id", "rank")


def measure(lists: pl.DataFrame) -> dict[str, float]:
    """Return the metrics of RECOMMENDATIONS on the test targets, as `stages.evaluate` does."""
    targets = read_table(DATA / "split" / "test.parquet", TEST)
    popularity = read_table(DATA / "movies" / "popularity" / "test.parquet", POPULARITY)
    ranks = build_ranks(lists, targets, popularity)
    means = mean_metrics(ranks, load_params(Params, "evaluate").cutoffs)
    return means | list_metrics(lists, targets["user_id"], popularity)


def main() -> None:
    """Fit, measure and print; `benchmarks/out` keeps the lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--als-factors", type=int, default=128)
    parser.add_argument("--ease-regularization", type=float, default=100.0)
    parser.add_argument("--sasrec-epochs", type=int, default=70)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking

    positives = Positives(DATA / "histories")
    seed = {"random_state": options.seed}
    bpr = BayesianPersonalizedRanking(**seed)
    als = AlternatingLeastSquares(factors=options.als_factors, regularization=10, alpha=5, **seed)
    models: dict[str, Callable[[], pl.DataFrame]] = {
        "implicit BPR": lambda: implicit_factors(positives, bpr),
        "implicit item-kNN": lambda: implicit_knn(positives),
        "implicit ALS": lambda: implicit_factors(positives, als),
        "EASE": lambda: ease_lists(positives, options.ease_regularization),
        "RecTools SASRec": lambda: rectools_sasrec(positives, options.sasrec_epochs, options.seed),
    }
    rows = {}
    for name, fit_and_recommend in models.items():
        start_time = time.perf_counter()
        lists = fit_and_recommend()
        seconds = time.perf_counter() - start_time
        write_table(lists, OUT / f"{name.replace(' ', '_')}.parquet", RECOMMENDATIONS)
        rows[name] = measure(lists) | {FIT_SECONDS: seconds}
    board = read_json(Path("metrics") / "leaderboard.json")
    print(header("system", [*COLUMNS, FIT_SECONDS]))
    for name, row in {**rows, **{f"**{system}**": row for system, row in board.items()}}.items():
        seconds = f"{row[FIT_SECONDS]:.0f}" if FIT_SECONDS in row else ""
        print(f"| {name} | " + " | ".join(f"{row[k]:.4f}" for k in COLUMNS) + f" | {seconds} |")


if __name__ == "__main__":
    main()
