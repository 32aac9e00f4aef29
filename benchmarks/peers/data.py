"""What a snapshot knows, the lists of unseen movies, and their measurement."""

from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from stages.common.params import load_params
from stages.common.tables import POPULARITY, TARGETS, TEST, read_table
from stages.data.pairs import sorted_pair_keys
from stages.data.snapshots import (
    TEST_SNAPSHOT,
    known_low_ratings,
    read_low_ratings,
    read_positives,
    read_seen,
)
from stages.evaluate import Params, build_ranks
from stages.evaluation.accuracy import user_accuracy
from stages.evaluation.metrics import list_metrics, mean_metrics, target_ranks
from stages.models.item_item import profile_values
from stages.models.top_k import interaction_matrix, take_unseen, top_columns

COUNT = 300
VALIDATION = "val"
PEER_SNAPSHOTS = (VALIDATION, TEST_SNAPSHOT)
METRIC, CUTOFF = "ndcg@10", 10


def most_rows(pairs: pl.DataFrame) -> int:
    """Return the number of rows of the user with the most, 0 without rows."""
    return pairs["user_id"].value_counts()["count"].max() or 0


class Snapshot:
    """The positives that a snapshot knows, and the movies that its users have rated.

    `positives` are the rows of KNOWN_POSITIVES, `users` and `movies` their ascending ids,
    `low_ratings` are the rows of LOW_RATINGS, `seen` is SEEN, `seen_keys` its sorted keys, and
    `popularity` is POPULARITY.
    """

    def __init__(self, data: Path, name: str) -> None:
        self.name = name
        self.positives = read_positives(data / "histories", name)
        low_ratings = read_low_ratings(data / "seen")
        self.low_ratings = known_low_ratings(low_ratings, self.positives, name)
        self.seen = read_seen(data / "seen", name)
        self.seen_keys = sorted_pair_keys(self.seen)
        self.max_seen = most_rows(self.seen)
        low = self.seen.join(self.positives, on=["user_id", "movie_id"], how="anti")
        self.max_low = most_rows(low)
        self.popularity = read_table(data / "movies" / "popularity" / f"{name}.parquet", POPULARITY)
        self.users = self.positives["user_id"].unique().sort().to_numpy()
        self.movies = self.positives["movie_id"].unique().sort().to_numpy()

    def matrix(self, low_weight: float = 0.0) -> sp.csr_matrix:
        """Return [users, movies] float32 ones at the positives, and `low_weight` at low ratings.

        The matrix is of the class that the libraries take.
        """
        matrix = sp.csr_matrix(interaction_matrix(self.positives, self.users, self.movies))
        if low_weight:
            low = interaction_matrix(self.low_ratings, self.users, self.movies)
            matrix += np.float32(low_weight) * sp.csr_matrix(low)
        return matrix

    def profiles(self, low_weight: float, recency: float) -> sp.csr_matrix:
        """Return [users, movies] float32 `matrix`, with less weight for older ratings.

        It has this pipeline's weights by recency (`stages.models.item_item.profile_values`), and
        empty rows for users who have no query.
        """
        weights = {"low_weight": np.float32(low_weight), "recency": np.float32(recency)}
        values = profile_values(weights, self.seen)
        matrix = interaction_matrix(self.seen, self.users, self.movies, values)
        matrix.eliminate_zeros()  # implicit's ALS takes a stored 0 for a confidence
        return sp.csr_matrix(matrix)

    @property
    def search_count(self) -> int:
        """The number of movies from which `COUNT` unseen ones can be taken for every user."""
        return min(len(self.movies), COUNT + self.max_seen)

    def best_unseen(self, scores: np.ndarray) -> pl.DataFrame:
        """Return RECOMMENDATIONS of the best unseen movies by [users, movies] scores."""
        columns, best = top_columns(scores, self.search_count)
        return take_unseen(self.users, self.movies[columns], best, self.seen_keys, COUNT)

    def history_lengths(self) -> pl.DataFrame:
        """Return user_id and history_length, the number of the user's positives."""
        return self.positives.group_by("user_id").agg(history_length=pl.len())


class Targets:
    """The validation and the test targets of a run, and metrics of lists for each."""

    def __init__(self, data: Path) -> None:
        self.val = read_table(data / "targets" / f"{VALIDATION}.parquet", TARGETS).sort("user_id")
        self.test = read_table(data / "split" / "test.parquet", TEST)
        self.popularity = read_table(data / "movies" / "popularity" / "test.parquet", POPULARITY)
        self.cutoffs = load_params(Params, "evaluate").cutoffs

    def validation_metric(self, lists: pl.DataFrame) -> float:
        """Return the mean ndcg@10 of RECOMMENDATIONS on the validation targets."""
        ranks = self.val.select("user_id", rank=target_ranks(lists, self.val))
        return user_accuracy(ranks, [CUTOFF])[METRIC].mean()

    def test_ranks(self, lists: pl.DataFrame) -> pl.DataFrame:
        """Return RANKS of the test targets, as `stages.evaluate` does."""
        return build_ranks(lists, self.test, self.popularity)

    def test_metrics(self, lists: pl.DataFrame) -> dict[str, float]:
        """Return the means on the test targets, as `stages.evaluate` does."""
        means = mean_metrics(self.test_ranks(lists), self.cutoffs)
        return means | list_metrics(lists, self.test["user_id"], self.popularity)
