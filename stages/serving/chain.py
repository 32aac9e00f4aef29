"""Recommend from a bundle: towers -> FAISS -> merged pool -> features -> ranker -> reasons.

One code path serves a single person and many users in bulk.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import polars as pl

from stages.boosters import read_boosters
from stages.candidates import search_unseen
from stages.common.stage import StageError
from stages.common.tables import CATALOGUE, HISTORIES, RECOMMENDATIONS
from stages.embeddings import embedding_table
from stages.features import build_features, past, pool_features
from stages.fusion import cut, fuse, merge, most_candidates
from stages.item_similarity import recommend_similar
from stages.popularity import recommend_popular
from stages.rerank import rerank
from stages.serving.bundle import read_bundle
from stages.serving.reasons import because
from stages.top_k import interactions
from stages.towers import serve_movies, serve_users, without_genres

USERS_AT_ONCE = 256
NEW_USER = -1  # an id that no data set has
# A recommendation with what a person wants to know of it.
SERVED = pl.Schema(
    {
        **RECOMMENDATIONS,
        "title": pl.String,
        "genres": CATALOGUE["genres"],
        "found_by": pl.List(pl.String),  # generators, each with the movie's rank in its list
        "because_id": pl.Int32,  # the liked movie that speaks most for it; null where none does
        "because": pl.String,  # its title
    }
)


class Chain:
    """Everything that a recommendation needs, loaded once.

    A user who is known only by what they like has no vector in the id towers; those
    generators are left out, and their features are missing values to the ranker.
    """

    def __init__(self, folder: Path) -> None:
        bundle = read_bundle(folder)
        self.settings = bundle.settings
        tables = bundle.tables
        self.catalogue = tables["catalogue"]
        self.user_ids, self.movie_ids = tables["user_ids"], tables["movie_ids"]
        self.popularity = tables["popularity"]
        self.likings = tables["likings"].select("user_id", "movie_id")
        self.owners = self.likings["user_id"].to_numpy()
        self.histories = tables["histories"]
        self.users = self.histories["user_id"].to_numpy()
        self.most = most_candidates(
            self.settings.max_candidates, len(self.users), self.settings.candidates
        )
        self.latest = int(tables["likings"]["timestamp"].max())
        self.weights = {n: a for n, a in bundle.arrays.items() if "weights" in a}
        towers = {n: a for n, a in bundle.arrays.items() if "weights" not in a}
        self.towers = {name: without_genres(arrays) for name, arrays in towers.items()}
        self.indexes = bundle.indexes
        self.boosters = read_boosters(bundle.boosters)
        vectors = embedding_table("movie_id", *serve_movies(towers[self.settings.vectors]))
        self.past = past(
            self.catalogue,
            tables["genres"],
            self.popularity,
            tables["likings"],
            tables["dislikes"],
            vectors,
            # Users' vectors come with each request.
            pl.DataFrame(schema={"user_id": pl.Int32, "embedding": pl.Float32}),
            self.weights,
        )
        # The first answer of a process is slow: what it sets up is part of the loading.
        self.for_person(NEW_USER, [int(self.catalogue["movie_id"][0])], 1)

    def lists(
        self,
        before: pl.DataFrame,
        seen: pl.DataFrame,
        vectors: dict[str, tuple[np.ndarray, np.ndarray]],
    ) -> dict[str, pl.DataFrame]:
        """RECOMMENDATIONS of every generator for the users that it knows.

        Args:
            before: HISTORIES, sorted by user.
            seen: user_id and movie_id of all likings of those users.
            vectors: Ids and vectors of the users that each tower knows.
        """
        users, count = before["user_id"].to_numpy(), self.settings.candidates
        made = {}
        for name in self.settings.generators:
            if name in self.weights:
                movies, weights = self.weights[name]["movie_ids"], self.weights[name]["weights"]
                liked = interactions(seen, users, movies)
                made[name] = recommend_similar(weights, liked, users, movies, count)
            elif name not in self.towers:
                made[name] = recommend_popular(self.popularity, users, seen, count)
            elif len(vectors[name][0]):
                made[name] = search_unseen(self.indexes[name], *vectors[name], seen, count)
            else:
                made[name] = pl.DataFrame(schema=RECOMMENDATIONS)
        return made

    def ranked(self, before: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """RECOMMENDATIONS of all candidates, and the pool that they come from."""
        # One user is too little work to share out: threads would wait for each other.
        threads = 1 if before.height == 1 else self.settings.threads
        faiss.omp_set_num_threads(threads)
        vectors = {name: serve_users(arrays, before) for name, arrays in self.towers.items()}
        pool = merge(self.lists(before, seen, vectors))
        if pool.height > self.most:  # of one user, or of several together
            fused = fuse(pool, self.settings.generators, self.settings.fusion_k)
            pool, _ = cut(pool, fused, self.most)
        groups = self.settings.groups
        known = self.past._replace(queries=vectors[self.settings.vectors])
        features = build_features(pool_features(pool, groups), before, known, groups)
        return rerank(self.boosters, features, threads), pool

    def recommend(self, before: pl.DataFrame, seen: pl.DataFrame, top: int) -> pl.DataFrame:
        """SERVED rows of the `top` best movies of each user, sorted by user and rank."""
        ordered, pool = self.ranked(before, seen)
        best = ordered.filter(pl.col("rank") <= top)
        places = [
            pl.when(pl.col(f"rank_{n}").is_not_null()).then(pl.format(n + " {}", f"rank_{n}"))
            for n in self.settings.generators
        ]
        keys = ["user_id", "movie_id"]
        reason = because(self.past, before, best)
        titles = self.catalogue.select("movie_id", "title", "genres")
        whys = titles.select(because_id="movie_id", because="title")
        return (
            best.with_columns(because_id=reason)
            .join(pool, on=keys, how="left", maintain_order="left")
            .with_columns(found_by=pl.concat_list(places).list.drop_nulls())
            .join(titles, on="movie_id", how="left", maintain_order="left")
            .join(whys, on="because_id", how="left", maintain_order="left")
            .select(pl.col(name).cast(kind) for name, kind in SERVED.items())
        )

    def likings_of(self, users: np.ndarray) -> pl.DataFrame:
        """All likings of the `users`, sorted ids; of one user without a look at the others."""
        start = np.searchsorted(self.owners, users[0])
        end = np.searchsorted(self.owners, users[-1], side="right")
        between = self.likings[int(start) : int(end)]
        return between if len(users) == 1 else between.filter(pl.col("user_id").is_in(users))

    def rows_of(self, users: np.ndarray) -> np.ndarray:
        """Where `users` stand in the histories.

        Raises:
            StageError: Some have no liking.
        """
        place = np.searchsorted(self.users, users).clip(max=len(self.users) - 1)
        missing = np.asarray(users)[self.users[place] != users]
        if len(missing):
            names = ", ".join(str(user) for user in missing[:5])
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise StageError(f"user {names}{more}: has no liking; give others, or --liked")
        return place

    def for_person(self, user: int, liked: list[int], top: int) -> pl.DataFrame:
        """SERVED rows for `user` or `NEW_USER`, who `liked` those movies last of all."""
        known, movies, times = self.likings[:0], [], []
        if user != NEW_USER:
            row = int(self.rows_of(np.array([user]))[0])
            known = self.likings_of(self.users[row : row + 1])
            movies, times = (self.histories[name][row].to_list() for name in HISTORIES.names()[1:3])
        seen = known["movie_id"].to_list()
        new = [movie for movie in dict.fromkeys(liked) if movie not in set(seen)]
        now, length = max(times or [self.latest]), self.settings.max_length
        history = {
            "user_id": [user],
            "history": [(movies + new)[-length:]],
            "timestamps": [(times + [now] * len(new))[-length:]],
            "history_length": [len(seen) + len(new)],
        }
        pairs = {"user_id": [user] * (len(seen) + len(new)), "movie_id": [*seen, *new]}
        likings = pl.DataFrame(pairs, schema=self.likings.schema)
        return self.recommend(pl.DataFrame(history, schema=HISTORIES), likings, top)

    def for_users(
        self, users: np.ndarray, top: int, done: Callable[[int], object] = int
    ) -> Iterator[pl.DataFrame]:
        """SERVED rows of all `users`, in any order and repeated or not, batch after batch.

        `done` is told how many users each batch had.
        """
        rows = np.unique(self.rows_of(users))
        for start in range(0, len(rows), USERS_AT_ONCE):
            some = rows[start : start + USERS_AT_ONCE]
            before = self.histories[some]
            yield self.recommend(before, self.likings_of(self.users[some]), top)
            done(len(some))
