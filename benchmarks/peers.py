"""Other libraries on exactly our split, beside our systems, in one table.

    make peers

Reads what `dvc repro` made: train and validation likings to fit on, and the test users. Every
library recommends 200 unseen movies to each of them; `stages.evaluate`, the only reader of the
test targets, measures the lists of all systems alike. ALS's settings are the best of 24 on
ml-100k's validation targets, BPR's the best of 4 (the library's defaults); the others are those
that are usual for data of this size. Nothing was tuned on the test.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.common.tables import RECOMMENDATIONS, write_table
from stages.ease import ease_weights
from stages.folds import folds
from stages.item_similarity import recommend_similar
from stages.top_k import best_unseen, interactions, top_columns

COUNT = 200
SHOWN = ["recall@1", "recall@10", "recall@20", "recall@50", "recall@200", "ndcg@10", "ndcg@20"]
SHOWN += ["mrr", "coverage@10"]
Lists = Callable[[], pl.DataFrame]


class Data:
    """The likings known before the test targets, as each library wants them."""

    def __init__(self, root: Path) -> None:
        split = root / "split"
        *_, newest = folds(split / "train.parquet", split / "val.parquet", root / "histories")
        self.likings = newest[1].sort("user_id", "position")
        self.users = self.likings["user_id"].unique().sort().to_numpy()
        self.movies = self.likings["movie_id"].unique().sort().to_numpy()
        self.matrix = interactions(self.likings, self.users, self.movies)

    def from_scores(self, scores: np.ndarray) -> pl.DataFrame:
        """RECOMMENDATIONS of the best unseen columns of [users, movies] scores."""
        scores[self.matrix.nonzero()] = -np.inf
        columns, best = top_columns(scores, COUNT)
        found = np.where(np.isfinite(best), self.movies[columns], -1)
        return best_unseen(self.users, found, best, np.empty(0), COUNT)


def implicit_factors(data: Data, model: object) -> pl.DataFrame:
    """Fit one of implicit's factor models and score every movie."""
    model.fit(sp.csr_matrix(data.matrix), show_progress=False)
    return data.from_scores(np.asarray(model.user_factors) @ np.asarray(model.item_factors).T)


def implicit_knn(data: Data) -> pl.DataFrame:
    """implicit's BM25 item-to-item model."""
    from implicit.nearest_neighbours import BM25Recommender

    model = BM25Recommender(K=500)
    model.fit(sp.csr_matrix(data.matrix), show_progress=False)
    return data.from_scores((data.matrix @ model.similarity).toarray().astype(np.float32))


def ease(data: Data, regularisation: float) -> pl.DataFrame:
    """The closed form, by our own few lines; RecTools' EASE gives the same weights."""
    weights = ease_weights(data.matrix, regularisation)
    return recommend_similar(weights, data.matrix, data.users, data.movies, COUNT)


def rectools_sasrec(data: Data, epochs: int, seed: int) -> pl.DataFrame:
    """RecTools' SASRec, 64 dimensions, 2 blocks, 50 movies, full softmax."""
    import pandas as pd
    from pytorch_lightning import Trainer, seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    seed_everything(seed, verbose=False)
    frame = pd.DataFrame(
        {
            Columns.User: data.likings["user_id"].to_numpy(),
            Columns.Item: data.likings["movie_id"].to_numpy(),
            Columns.Weight: 1.0,
            # The place in the user's order, as days: RecTools sorts by time.
            Columns.Datetime: pd.to_datetime(data.likings["position"].to_numpy(), unit="D"),
        }
    )
    dataset = Dataset.construct(frame)

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
    made = model.recommend(data.users, dataset, k=COUNT, filter_viewed=True)
    columns = {"user_id": Columns.User, "movie_id": Columns.Item}
    columns |= {"score": Columns.Score, "rank": Columns.Rank}
    table = pl.DataFrame({name: made[column].to_numpy() for name, column in columns.items()})
    return table.cast(dict(RECOMMENDATIONS)).sort("user_id", "rank")


def measure(name: str, table: pl.DataFrame, out: Path) -> dict[str, float]:
    """The figures that `stages.evaluate` gives for a system's lists."""
    lists, figures = out / f"{name}.parquet", out / f"{name}.json"
    write_table(table, lists, RECOMMENDATIONS)
    command = [sys.executable, "-m", "stages.evaluate", "--recommendations", str(lists)]
    command += ["--targets", "data/split/test.parquet", "--genres", "data/movies/genres.parquet"]
    command += ["--popularity", "data/popularity/test.parquet", "--metrics", str(figures)]
    command += ["--slice-table", str(out / f"{name}.csv"), "--ranks", str(out / f"{name}.ranks")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return json.loads(figures.read_text(encoding="utf-8"))


def main() -> None:
    """Fit, measure and print; `benchmarks/out` keeps the lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--als-factors", type=int, default=128)
    parser.add_argument("--ease-regularisation", type=float, default=100.0)
    parser.add_argument("--sasrec-epochs", type=int, default=70)
    parser.add_argument("--seed", type=int, default=42)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking

    data, out = Data(Path("data")), Path("benchmarks/out")
    seeded = {"random_state": chosen.seed}
    als = {"factors": chosen.als_factors, "regularization": 10, "alpha": 5, **seeded}
    systems: dict[str, Lists] = {
        "implicit BPR": lambda: implicit_factors(data, BayesianPersonalizedRanking(**seeded)),
        "implicit item-kNN": lambda: implicit_knn(data),
        "implicit ALS": lambda: implicit_factors(data, AlternatingLeastSquares(**als)),
        "EASE": lambda: ease(data, chosen.ease_regularisation),
        "RecTools SASRec": lambda: rectools_sasrec(data, chosen.sasrec_epochs, chosen.seed),
    }
    rows = {}
    for name, lists in systems.items():
        started = time.perf_counter()
        table = lists()
        spent = time.perf_counter() - started
        rows[name] = measure(name.replace(" ", "_"), table, out) | {"fit s": spent}
    board = json.loads(Path("metrics/leaderboard.json").read_text(encoding="utf-8"))
    print("| system | " + " | ".join(SHOWN) + " | fit s |")
    print("| --- |" + " ---: |" * (len(SHOWN) + 1))
    for name, row in {**rows, **{f"**{n}**": r for n, r in board.items()}}.items():
        spent = f"{row['fit s']:.0f}" if "fit s" in row else ""
        print(f"| {name} | " + " | ".join(f"{row[k]:.4f}" for k in SHOWN) + f" | {spent} |")


if __name__ == "__main__":
    main()
