"""Replicate published figures, to check the peers' code, the filter and the metrics.

Two protocols, both with all ratings as feedback and without movies that a user has rated before:

- ML-100K, a random 80/20 split, full catalogue. The published figures are those of two libraries,
  which do not state their number of neighbours.
- ML-1M in order, the last movie of each of 6,040 users against 100 sampled movies. The published
  figures are those of popularity in the papers of SASRec and of BERT4Rec.

A transformer's published figures (SASRec on ML-1M, full catalogue: recall@10 .2821, ndcg@10 .1603)
are out of reach: they need the true second-last movie of every user, and hours on two cores.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
from implicit.nearest_neighbours import CosineRecommender

from benchmarks.tables import header
from stages.common.tables import RATINGS, RECOMMENDATIONS, read_table
from stages.data.pairs import sorted_pair_keys
from stages.evaluation.metrics import target_ranks, user_metrics
from stages.models.top_k import interaction_matrix, take_unseen, top_columns

TEST_SHARE, SEEDS, LIST_LENGTH, SAMPLED_MOVIES = 0.2, range(5), 10, 100
NEIGHBOURS = 100
JULIA = "Recommenders.jl, README"
PYTHON = "Burton-David/ServingPipeline-Systems, README"
PUBLISHED_100K = {
    ("popularity", JULIA): {"precision@10": 0.1897, "recall@10": 0.1182, "ndcg@10": 0.2197},
    ("popularity", PYTHON): {"precision@10": 0.1935, "recall@10": 0.1165, "ndcg@10": 0.2184},
    ("item-kNN", JULIA): {"precision@10": 0.3284, "recall@10": 0.2180, "ndcg@10": 0.3986},
    ("item-kNN", PYTHON): {"precision@10": 0.3240, "recall@10": 0.2070, "ndcg@10": 0.3833},
}
PUBLISHED_1M = {
    ("uniform", "Kang and McAuley 2018, table III"): {"recall@10": 0.4329, "ndcg@10": 0.2377},
    ("by popularity", "Sun et al. 2019, table 2"): {"recall@10": 0.1358, "ndcg@10": 0.0621},
}


def popularity_scores(matrix: sp.csr_matrix) -> np.ndarray:
    """Return [users, movies] scores: the number of ratings of each movie."""
    counts = np.asarray(matrix.sum(axis=0))
    return np.repeat(counts, matrix.shape[0], axis=0)


def knn_scores(matrix: sp.csr_matrix) -> np.ndarray:
    """Return [users, movies] scores of implicit's cosine item-kNN.

    A movie's score is the sum over its neighbours that the user has rated (Sarwar et al. 2001).
    """
    model = CosineRecommender(K=NEIGHBOURS, num_threads=1)
    model.fit(matrix, show_progress=False)
    return (matrix @ model.similarity.T).toarray()


MODELS: dict[str, Callable[[sp.csr_matrix], np.ndarray]] = {
    "popularity": popularity_scores,
    "item-kNN": knn_scores,
}


def list_means(lists: pl.DataFrame, targets: pl.DataFrame) -> dict[str, float]:
    """Return the means over users of the metrics of RECOMMENDATIONS at `LIST_LENGTH`.

    Args:
        lists: RECOMMENDATIONS.
        targets: user_id and movie_id, sorted by user.
    """
    ranks = targets.select("user_id", rank=target_ranks(lists, targets))
    return user_metrics(ranks, [LIST_LENGTH]).drop("user_id").mean().row(0, named=True)


def random_split_metrics(ratings: pl.DataFrame, seed: int) -> dict[str, dict[str, float]]:
    """Return the metrics by model on a random `TEST_SHARE` of RATINGS."""
    is_test = pl.Series(np.random.default_rng(seed).random(ratings.height) < TEST_SHARE)
    train, test = ratings.filter(~is_test), ratings.filter(is_test).sort("user_id", "movie_id")
    users = ratings["user_id"].unique().sort().to_numpy()
    movies = train["movie_id"].unique().sort().to_numpy()
    matrix = sp.csr_matrix(interaction_matrix(train, users, movies))
    metrics = {}
    for name, model in MODELS.items():
        columns, scores = top_columns(model(matrix).astype(np.float32), len(movies))
        lists = take_unseen(users, movies[columns], scores, sorted_pair_keys(train), LIST_LENGTH)
        # Equal scores keep their order, as in the published code: a target is not ranked last.
        lists = lists.with_columns(score=-pl.col("rank").cast(pl.Float32))
        metrics[name] = list_means(lists, test)
    return metrics


def sampled_metrics(ratings: pl.DataFrame, by_popularity: bool, seed: int) -> dict[str, float]:
    """Return the metrics of popularity for the last movie of each user among sampled ones.

    Args:
        ratings: user_id and movie_id, sorted by user and time.
        by_popularity: Whether movies are sampled in proportion to their ratings, or uniformly.
        seed: The seed of the samples.
    """
    is_last = pl.col("user_id") != pl.col("user_id").shift(-1)
    is_last = is_last.fill_null(True)
    targets, train = ratings.filter(is_last), ratings.filter(~is_last)
    users, movies = (ratings[name].unique().sort().to_numpy() for name in ("user_id", "movie_id"))
    seen = interaction_matrix(ratings, users, movies).toarray() > 0
    counts = interaction_matrix(train, users, movies).sum(axis=0)
    weights = np.where(seen, 0, counts if by_popularity else 1.0)
    # The largest of log-weights plus Gumbel noise are a weighted sample without replacement.
    noise = np.random.default_rng(seed).gumbel(size=weights.shape)
    keys = np.where(weights > 0, np.log(np.maximum(weights, 1e-9)) + noise, -np.inf)
    columns, _ = top_columns(keys, SAMPLED_MOVIES)
    target_columns = np.searchsorted(movies, targets["movie_id"].to_numpy())
    columns = np.column_stack([columns, target_columns])
    count = columns.shape[1]
    table = {"user_id": np.repeat(users, count), "movie_id": movies[columns].ravel()}
    lists = pl.DataFrame({**table, "score": counts[columns].ravel(), "rank": 0})
    return list_means(lists.cast(dict(RECOMMENDATIONS)), targets)


def comparison(name: str, source: str, ours: dict[str, float], theirs: dict[str, float]) -> str:
    """Return a Markdown row: our figures, the published ones and the largest difference."""
    ratios = [ours[metric] / value - 1 for metric, value in theirs.items()]
    cells = [f"{metric} {ours[metric]:.4f} ({value:.4f})" for metric, value in theirs.items()]
    largest = max(ratios, key=abs)
    return f"| {name} | {', '.join(cells)} | {largest:+.1%} | {source} |"


def mean_metrics(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over runs."""
    return {metric: float(np.mean([run[metric] for run in runs])) for metric in runs[0]}


def rows(data: Path, sequences: Path | None) -> Iterator[str]:
    """Yield the Markdown rows of all replications.

    Args:
        data: The folder of a run on ML-100K.
        sequences: ratings.csv of ML-1M (userId, movieId, timestamp), in which the second-last
            movies may be missing: popularity is counted without them.
    """
    yield header("model", ["ours (published)", "largest difference", "source"])
    ratings = read_table(data / "ratings.parquet", RATINGS)
    runs = [random_split_metrics(ratings, seed) for seed in SEEDS]
    for (name, source), published in PUBLISHED_100K.items():
        ours = mean_metrics([run[name] for run in runs])
        yield comparison(f"{name}, ML-100K 80/20", source, ours, published)
    if sequences is None:
        return
    names = {"userId": "user_id", "movieId": "movie_id"}
    table = pl.read_csv(sequences).rename(names).sort("user_id", "timestamp")
    table = table.cast({"user_id": pl.Int32, "movie_id": pl.Int32})
    for (sampling, source), published in PUBLISHED_1M.items():
        runs = [sampled_metrics(table, sampling == "by popularity", seed) for seed in SEEDS]
        name = f"popularity, ML-1M, {SAMPLED_MOVIES} movies sampled {sampling}"
        yield comparison(name, source, mean_metrics(runs), published)
