"""Recommend from a bundle: generators -> merged candidates -> features -> ranker -> explanations.

A single person and many users in bulk go through the same code.
"""

import importlib.util
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path

import faiss
import numpy as np
import polars as pl

from stages.candidates import search_unseen
from stages.common.stage import StageError
from stages.common.tables import RECOMMENDATIONS
from stages.embeddings import embedding_table
from stages.fusion import cut, fuse, max_per_user, merge
from stages.models.boosters import parse_boosters
from stages.models.towers import movie_embeddings, without_genres
from stages.models.user_vectors import user_embeddings
from stages.parallel.process import thread_count
from stages.ranking.feature_groups import GROUPS
from stages.ranking.features import (
    GENERATOR_GROUPS,
    build_context,
    build_features,
    generator_features,
)
from stages.ranking.scorer import Scorer
from stages.rerank import rerank
from stages.serving.bundle import Settings, read_bundle
from stages.serving.explanations import explain
from stages.serving.feedback import Feedback, add_feedback, empty_history
from stages.serving.raw_ids import abbreviate, with_raw_ids
from stages.serving.served_rows import SERVED, served_rows

__all__ = ["NEW_USER", "SERVED", "ServingPipeline", "check_code"]
SERVING_BATCH_USERS = 256  # bounds the memory of serving many users
NEW_USER = -1  # an id that no data set has
Vectors = dict[str, tuple[np.ndarray, np.ndarray]]  # by retriever: user ids and their vectors


def check_code(settings: Settings, towers: Container[str]) -> None:
    """Raise a StageError if a generator or a feature group of the bundle is not in this code."""
    cure = "copy it from the code that wrote the bundle"
    for name in settings.generators:
        if name not in towers and not importlib.util.find_spec(f"stages.generators.{name}"):
            raise StageError(f"stages/generators/{name}.py: not found; {cure}")
    for group in settings.feature_groups:
        if group not in GENERATOR_GROUPS and group not in GROUPS:
            raise StageError(f"stages/ranking: has no feature group {group!r}; {cure}")


class ServingPipeline:
    """The models and tables of a bundle, loaded once.

    A retriever that learns a vector per user folds new users in (`stages.models.user_vectors`).
    """

    def __init__(self, folder: Path) -> None:
        bundle = read_bundle(folder)
        check_code(bundle.settings, bundle.indexes)
        self.settings, tables = bundle.settings, bundle.tables
        self.catalogue, self.popularity = tables["catalogue"], tables["popularity"]
        self.user_ids, self.movie_ids = tables["user_ids"], tables["movie_ids"]
        self.seen = tables["seen"]
        self.seen_users = self.seen["user_id"].to_numpy()
        self.histories = tables["histories"]
        self.users = self.histories["user_id"].to_numpy()
        self.candidate_limit = max_per_user(
            self.settings.max_candidates, len(self.users), self.settings.candidates
        )
        self.newest_time = int(tables["positives"]["timestamp"].max())
        self.indexes = bundle.indexes
        self.towers = {name: without_genres(bundle.arrays[name]) for name in bundle.indexes}
        self.models = {n: a for n, a in bundle.arrays.items() if n not in bundle.indexes}
        self.scorer = Scorer(parse_boosters(bundle.boosters))
        retriever = bundle.arrays[self.settings.retriever]
        self.context = build_context(
            catalogue=self.catalogue,
            genres=tables["genres"],
            popularity=self.popularity,
            positives=tables["positives"],
            movie_vectors=embedding_table("movie_id", *movie_embeddings(retriever)),
            # Users' vectors are computed for each request.
            user_vectors=pl.DataFrame(schema={"user_id": pl.Int32, "embedding": pl.Float32}),
            item_item={n: arrays for n, arrays in self.models.items() if "weights" in arrays},
        )
        # The first recommendation of a process includes one-time setup, so make one here.
        self.for_person(NEW_USER, [int(self.catalogue["movie_id"][0])], 1)

    def generator_lists(
        self, histories: pl.DataFrame, seen: pl.DataFrame, vectors: Vectors
    ) -> dict[str, pl.DataFrame]:
        """Return RECOMMENDATIONS of every generator for the users of `histories`.

        Args:
            histories: HISTORIES.
            seen: SEEN of these users.
            vectors: The users' ids and vectors by retriever.
        """
        users, count = histories["user_id"].to_numpy(), self.settings.candidates
        lists = {}
        for name in self.settings.generators:
            if name in self.models:
                generator = importlib.import_module(f"stages.generators.{name}")
                lists[name] = generator.recommend(self.models[name], users, seen, count)
            else:
                lists[name] = search_unseen(self.indexes[name], *vectors[name], seen, count)
        return lists

    def rank(
        self, histories: pl.DataFrame, seen: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return RECOMMENDATIONS of all candidates, and the merged candidates they come from.

        Args:
            histories: HISTORIES.
            seen: SEEN of these users.
        """
        # One user is too little work for several threads, which would wait for each other.
        threads = 1 if histories.height == 1 else thread_count()
        faiss.omp_set_num_threads(threads)
        vectors = {n: user_embeddings(a, histories, seen) for n, a in self.towers.items()}
        merged = merge(self.generator_lists(histories, seen, vectors))
        if merged.height > self.candidate_limit:  # otherwise no user has more
            fused = fuse(merged, self.settings.generators, self.settings.fusion_k)
            merged, _ = cut(merged, fused, self.candidate_limit)
        if merged.is_empty():  # these users have seen all movies
            return pl.DataFrame(schema=RECOMMENDATIONS), merged
        groups = self.settings.feature_groups
        context = self.context._replace(user_vectors=vectors[self.settings.retriever])
        features = generator_features(merged, groups)
        features = build_features(features, histories, context, groups)
        return rerank(self.scorer, features, threads), merged

    def recommend(self, histories: pl.DataFrame, seen: pl.DataFrame, top: int) -> pl.DataFrame:
        """Return SERVED rows of each user's `top` best movies, sorted by user and rank.

        Args:
            histories: HISTORIES, sorted by user.
            seen: SEEN of these users.
            top: Movies per user.
        """
        ranked, merged = self.rank(histories, seen)
        if merged.is_empty():
            return pl.DataFrame(schema=SERVED)
        best = ranked[np.flatnonzero(ranked["rank"].to_numpy() <= top)]
        explanations = explain(self.context, histories, best)
        return served_rows(best, merged, explanations, self.catalogue, self.settings.generators)

    def with_raw_ids(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return SERVED rows with the ids of the raw data; that of a new user is null."""
        table = table.with_columns(pl.col("user_id").replace(NEW_USER, None))
        return with_raw_ids(table, self.user_ids, self.movie_ids)

    def seen_by(self, users: np.ndarray) -> pl.DataFrame:
        """Return SEEN of the sorted `users`.

        For one user, a binary search replaces the scan.
        """
        start = np.searchsorted(self.seen_users, users[0])
        end = np.searchsorted(self.seen_users, users[-1], side="right")
        rows = self.seen[int(start) : int(end)]
        return rows if len(users) == 1 else rows.filter(pl.col("user_id").is_in(users))

    def history_rows(self, users: np.ndarray) -> np.ndarray:
        """Return the rows of `users` in the histories.

        Raises:
            StageError: Some of the users have no positive.
        """
        rows = np.searchsorted(self.users, users).clip(max=len(self.users) - 1)
        missing = np.asarray(users)[self.users[rows] != users]
        if len(missing):
            raw_ids = dict(self.user_ids.select("user_id", "raw_id").iter_rows())
            names = abbreviate([raw_ids.get(user, user) for user in missing.tolist()])
            raise StageError(f"user {names}: has no positive; give others, or movies that you like")
        return rows

    def for_person(
        self,
        user: int,
        liked: Sequence[int],
        top: int,
        *,
        disliked: Sequence[int] = (),
        seen: Sequence[int] = (),
    ) -> pl.DataFrame:
        """Return SERVED rows for a user who also gives feedback, none of it recommended.

        Args:
            user: A user_id with a positive in the bundle, or `NEW_USER`.
            liked: movie_id of any number of movies, which follow the user's own positives.
            top: Number of movies.
            disliked: movie_id of low ratings, with the weight of those of users of the data.
            seen: movie_id of movies that are only not recommended.

        Raises:
            StageError: The user has no positive.
        """
        if user == NEW_USER:
            history, rated, now = empty_history(user), self.seen[:0], self.newest_time
        else:
            row = int(self.history_rows(np.array([user]))[0])
            history, rated = self.histories[row : row + 1], self.seen_by(self.users[row : row + 1])
            now = rated["timestamp"].max()
        feedback = Feedback(liked, disliked, seen)
        tables = add_feedback(history, rated, feedback, now, self.settings.max_length)
        return self.recommend(*tables, top)

    def for_users(
        self, users: np.ndarray, top: int, on_batch: Callable[[int], object] = int
    ) -> Iterator[pl.DataFrame]:
        """Yield SERVED rows of `users`, a batch of users at a time, sorted by user and rank.

        Args:
            users: user_id in any order; repeated ids count once.
            top: Movies per user.
            on_batch: Called after each batch with its number of users.

        Raises:
            StageError: Some of the users have no positive.
        """
        rows = np.unique(self.history_rows(users))
        for start in range(0, len(rows), SERVING_BATCH_USERS):
            batch = rows[start : start + SERVING_BATCH_USERS]
            seen = self.seen_by(self.users[batch])
            yield self.recommend(self.histories[batch], seen, top)
            on_batch(len(batch))
