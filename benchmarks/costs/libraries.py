"""Models of other libraries, as their documentation says to use them, on all processors."""

from typing import Any

import numpy as np
import polars as pl

from benchmarks.costs.model_step import COUNT, Inputs, Model
from stages.parallel.process import thread_count


def ranked_lists(users: np.ndarray, movies: np.ndarray, scores: np.ndarray) -> pl.DataFrame:
    """Return user_id, movie_id and score of equally long columns."""
    return pl.DataFrame({"user_id": users, "movie_id": movies, "score": scores})


def fit_implicit(model: Any, inputs: Inputs) -> tuple[Any, Any]:
    """Fit one of implicit's models; return it and its matrix."""
    matrix = inputs.snapshot.matrix()
    model.fit(matrix, show_progress=False)
    return model, matrix


def recommend_by_implicit(fitted: tuple[Any, Any], inputs: Inputs) -> pl.DataFrame:
    """Return the lists of one of implicit's models."""
    model, matrix = fitted
    users, movies = inputs.snapshot.users, inputs.snapshot.movies
    columns, scores = model.recommend(np.arange(len(users)), matrix, N=min(COUNT, len(movies)))
    table = ranked_lists(
        np.repeat(users, columns.shape[1]), movies[columns.ravel()], scores.ravel()
    )
    return table.filter(columns.ravel() >= 0)


def fit_implicit_als(inputs: Inputs) -> tuple[Any, Any]:
    """Fit implicit's ALS."""
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=128, regularization=10, alpha=2, random_state=42)
    return fit_implicit(model, inputs)


def fit_implicit_knn(inputs: Inputs) -> tuple[Any, Any]:
    """Fit implicit's item-kNN."""
    from implicit.nearest_neighbours import TFIDFRecommender

    return fit_implicit(TFIDFRecommender(K=20), inputs)


def fit_rectools_ease(inputs: Inputs) -> tuple[Any, Any]:
    """Fit RecTools' EASE; return it and its data set."""
    from rectools.dataset import Dataset
    from rectools.models import EASEModel

    rows = inputs.snapshot.positives.select(
        "user_id", item_id="movie_id", weight=1.0, datetime=pl.from_epoch("timestamp")
    )
    dataset = Dataset.construct(rows.to_pandas())
    return EASEModel(regularization=100, recommend_use_gpu_ranking=False).fit(dataset), dataset


def recommend_by_rectools(fitted: tuple[Any, Any], inputs: Inputs) -> pl.DataFrame:
    """Return the lists of one of RecTools' models."""
    from rectools import Columns

    model, dataset = fitted
    table = model.recommend(inputs.snapshot.users, dataset, k=COUNT, filter_viewed=True)
    return ranked_lists(*(table[c].to_numpy() for c in (Columns.User, Columns.Item, Columns.Score)))


def fit_rectools_sasrec(inputs: Inputs) -> tuple[Any, Any]:
    """Train RecTools' SASRec for `inputs.epochs`; return it and its data set."""
    import torch

    from benchmarks.peers.sequence import SEQUENCE_PEERS, Training

    peer = SEQUENCE_PEERS["sasrec"]
    training = Training(peer, {"n_factors": 64, "dropout_rate": 0.5}, inputs.snapshot, 42)
    torch.set_num_threads(thread_count())
    for _ in range(inputs.epochs):
        training.epoch()
    return training.model, training.dataset


def fit_lenskit(scorer: Any, inputs: Inputs) -> Any:
    """Train LensKit's pipeline of a scorer."""
    from lenskit.data import from_interactions_df
    from lenskit.pipeline import topn_pipeline

    rows = inputs.snapshot.positives.select("user_id", item_id="movie_id").to_pandas()
    pipeline = topn_pipeline(scorer, n=COUNT)
    pipeline.train(from_interactions_df(rows))
    return pipeline


def recommend_by_lenskit(pipeline: Any, inputs: Inputs) -> pl.DataFrame:
    """Return the lists of LensKit's pipeline."""
    from lenskit.batch import recommend

    lists = recommend(pipeline, inputs.snapshot.users, n=COUNT, n_jobs=thread_count())
    table = lists.to_df()
    return ranked_lists(*(table[c].to_numpy() for c in ("user_id", "item_id", "score")))


def fit_lenskit_ease(inputs: Inputs) -> Any:
    """Train LensKit's EASE."""
    from lenskit.knn import EASEScorer

    return fit_lenskit(EASEScorer(regularization=100), inputs)


def fit_lenskit_knn(inputs: Inputs) -> Any:
    """Train LensKit's item-kNN."""
    from lenskit.knn import ItemKNNScorer

    return fit_lenskit(ItemKNNScorer(k=20, feedback="implicit"), inputs)


MODELS = {
    "implicit_als": Model("implicit.als", fit_implicit_als, recommend_by_implicit),
    "implicit_knn": Model("implicit.nearest_neighbours", fit_implicit_knn, recommend_by_implicit),
    "rectools_ease": Model("rectools.models", fit_rectools_ease, recommend_by_rectools),
    "rectools_sasrec": Model(
        "benchmarks.peers.sequence", fit_rectools_sasrec, recommend_by_rectools
    ),
    "lenskit_ease": Model("lenskit.knn", fit_lenskit_ease, recommend_by_lenskit),
    "lenskit_knn": Model("lenskit.knn", fit_lenskit_knn, recommend_by_lenskit),
}
