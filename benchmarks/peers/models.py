"""Peers that score every movie for every user: factor models and item-to-item models.

ALS, BPR and the item-kNN models are implicit's, EASE is RecTools', and LensKit has an ALS of its
own. Where a library takes weights, low ratings are tried as interactions of a smaller weight, as in
this pipeline. Three models are tried a second time with this pipeline's weights by recency in the
users' profiles (`Snapshot.profiles`); no library has them, so these are rows of their own. LightFM
is left out, because it has no wheel for Python 3.11 and its source does not build with a current
setuptools.
"""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from lenskit.als import ImplicitMFScorer
from lenskit.data import from_interactions_df
from lenskit.training import TrainingOptions
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel

from benchmarks.peers.data import Snapshot

Settings = dict[str, Any]
KNN_MODELS = {"BM25": BM25Recommender, "TF-IDF": TFIDFRecommender, "cosine": CosineRecommender}


def grid(**values: list) -> list[Settings]:
    """Return the settings of all combinations of `values`."""
    return [dict(zip(values, combination)) for combination in product(*values.values())]


def matrices(
    snapshot: Snapshot, settings: Settings
) -> tuple[sp.csr_matrix, sp.csr_matrix, Settings]:
    """Return the matrix to fit, that of the users' profiles, and the settings of the library.

    `low_weight` and `recency` are settings of the matrices alone. Without `recency` the profiles
    are the fitted matrix.
    """
    options = dict(settings)
    low_weight, recency = options.pop("low_weight"), options.pop("recency", None)
    matrix = snapshot.matrix(low_weight)
    profiles = matrix if recency is None else snapshot.profiles(low_weight, recency)
    return matrix, profiles, options


def als_scores(snapshot: Snapshot, settings: Settings, seed: int) -> np.ndarray:
    """Fit implicit's ALS (Hu et al. 2008); return [users, movies] scores.

    With `recency`, a user's vector is the least-squares solution for the user's profile.
    """
    matrix, profiles, options = matrices(snapshot, settings)
    model = AlternatingLeastSquares(**options, random_state=seed, num_threads=1)
    model.fit(matrix, show_progress=False)
    users = model.user_factors
    if "recency" in settings:
        users = model.recalculate_user(np.arange(len(snapshot.users)), profiles)
    return users @ model.item_factors.T


def bpr_scores(snapshot: Snapshot, settings: Settings, seed: int) -> np.ndarray:
    """Fit implicit's BPR (Rendle et al. 2009); return [users, movies] scores."""
    model = BayesianPersonalizedRanking(**settings, random_state=seed, num_threads=1)
    model.fit(snapshot.matrix(), show_progress=False)
    return np.asarray(model.user_factors) @ np.asarray(model.item_factors).T


def knn_scores(snapshot: Snapshot, settings: Settings, seed: int) -> np.ndarray:
    """Fit one of implicit's item-kNN models; return [users, movies] scores."""
    matrix, profiles, options = matrices(snapshot, settings)
    model = KNN_MODELS[options.pop("weights")](**options, num_threads=1)
    model.fit(matrix, show_progress=False)
    return (profiles @ model.similarity).toarray().astype(np.float32)


def ease_scores(snapshot: Snapshot, settings: Settings, seed: int) -> np.ndarray:
    """Fit RecTools' EASE (Steck 2019); return [users, movies] scores."""
    matrix, profiles, options = matrices(snapshot, settings)
    users, movies = matrix.nonzero()
    columns = {
        Columns.User: snapshot.users[users],
        Columns.Item: snapshot.movies[movies],
        Columns.Weight: matrix[users, movies].A1,
        Columns.Datetime: "2000-01-01",
    }
    dataset = Dataset.construct(pd.DataFrame(columns))
    model = EASEModel(**options, recommend_n_threads=1, recommend_use_gpu_ranking=False)
    model.fit(dataset)
    index = dataset.item_id_map.convert_to_internal(snapshot.movies)
    return (profiles @ model.weight[np.ix_(index, index)]).astype(np.float32)


def lenskit_scores(snapshot: Snapshot, settings: Settings, seed: int) -> np.ndarray:
    """Fit LensKit's implicit-feedback ALS; return [users, movies] scores."""
    rows = snapshot.positives.select("user_id", item_id="movie_id").to_pandas()
    dataset = from_interactions_df(rows, users=snapshot.users, items=snapshot.movies)
    model = ImplicitMFScorer(**settings)
    model.train(dataset, TrainingOptions(rng=seed))
    return np.asarray(model.user_embeddings) @ np.asarray(model.item_embeddings).T


class ScorePeer(NamedTuple):
    """A peer that scores all movies, and the settings that it is tried with."""

    title: str
    scores: Callable[[Snapshot, Settings, int], np.ndarray]
    grid: list[Settings]


LOW_WEIGHTS = [0.0, 0.25, 0.5]
RECENCIES = [0.3, 0.5, 0.7, 1.0, 1.3]
KNN_GRID = [
    *grid(
        weights=["BM25"],
        K=[100, 200, 500, 1000],
        K1=[0.5, 1.2, 2.0],
        B=[0.2, 0.5, 0.75],
        low_weight=LOW_WEIGHTS,
    ),
    *grid(weights=["TF-IDF", "cosine"], K=[20, 50, 100, 200, 500], low_weight=LOW_WEIGHTS),
]
ALS_GRID = grid(
    factors=[32, 64, 128],
    regularization=[3, 10, 30, 100],
    alpha=[2, 5, 15, 40],
    low_weight=LOW_WEIGHTS,
)
EASE_GRID = grid(regularization=[50, 100, 200, 400, 800, 1600], low_weight=LOW_WEIGHTS)
BPR_GRID = grid(
    factors=[16, 32, 64],
    learning_rate=[0.003, 0.01, 0.03],
    regularization=[0.003, 0.01, 0.03],
    iterations=[50, 100, 300],
)
LENSKIT_GRID = grid(
    embedding_size=[32, 64, 128], regularization=[1, 10, 30], weight=[1, 2, 5], epochs=[15]
)


def with_recency(settings: list[Settings]) -> list[Settings]:
    """Return the settings with each value of `recency`."""
    return [{**setting, "recency": recency} for setting in settings for recency in RECENCIES]


SCORE_PEERS = {
    "als": ScorePeer("implicit ALS", als_scores, ALS_GRID),
    "bpr": ScorePeer("implicit BPR", bpr_scores, BPR_GRID),
    "knn": ScorePeer("implicit item-kNN", knn_scores, KNN_GRID),
    "ease": ScorePeer("RecTools EASE", ease_scores, EASE_GRID),
    "lenskit_als": ScorePeer("LensKit ALS", lenskit_scores, LENSKIT_GRID),
    "als_recency": ScorePeer("implicit ALS, with recency", als_scores, with_recency(ALS_GRID)),
    "knn_recency": ScorePeer("implicit item-kNN, with recency", knn_scores, with_recency(KNN_GRID)),
    "ease_recency": ScorePeer("RecTools EASE, with recency", ease_scores, with_recency(EASE_GRID)),
}
