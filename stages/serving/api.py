"""The public API for programs: load a bundle once, then ask it for recommendations.

    from stages.serving import Recommender

    recommender = Recommender.load("data/bundle")
    recommender.recommend(ratings={"Toy Story (1995)": 5, "Fargo": 2}, k=20)

Everything else in this package may change from version to version.
"""

import stages.serving.one_thread  # noqa: F401

# isort: split
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import polars as pl

from stages.common.stage import StageError
from stages.data.param_hints import POSITIVE_SHARE
from stages.serving.arguments import BUNDLE
from stages.serving.feedback import Feedback, join_feedback
from stages.serving.pipeline import NEW_USER, ServingPipeline
from stages.serving.raw_ids import find_users, with_raw_ids
from stages.serving.title_search import TitleSearch

BEST_RATING = 5  # stars


class Recommender:
    """Recommends movies to users of the data and to new people.

    Users and movies have the ids of the raw data, as text. A movie may also be named by its title,
    as `recommend --liked` takes it (docs/serving.md).
    """

    def __init__(self, pipeline: ServingPipeline) -> None:
        """Use `load` instead."""
        self._pipeline = pipeline
        self._search = TitleSearch(pipeline.catalogue, pipeline.movie_ids, pipeline.popularity)

    @classmethod
    def load(cls, bundle: str | Path = BUNDLE) -> Self:
        """Load a bundle, which takes about a second.

        Raises:
            StageError: There is no bundle, or it is damaged.
        """
        return cls(ServingPipeline(Path(bundle)))

    def compile_trees(self) -> None:
        """Compile the ranker's trees now, as a program that goes on to run does before it starts.

        This takes about a second. Otherwise they are compiled after some hundreds of people.
        """
        self._pipeline.scorer.compile_trees()

    @property
    def ranker(self) -> str:
        """Name of the ranker in params.yaml."""
        return self._pipeline.settings.ranker

    @property
    def num_movies(self) -> int:
        """Number of movies of the catalogue."""
        return self._pipeline.catalogue.height

    def search(self, text: str, k: int = 10) -> pl.DataFrame:
        """Return up to `k` movies that `text` may mean, the likeliest first.

        Args:
            text: A title or a part of it; for an empty one, the most popular movies are returned.
            k: Number of movies.

        Returns:
            A row per movie: `movie_id`, `title`, `genres`.
        """
        movies = self._search.search(text, k).select("movie_id", "title", "genres")
        return with_raw_ids(movies, self._pipeline.user_ids, self._pipeline.movie_ids)

    def recommend(
        self,
        *,
        user: str | int | None = None,
        ratings: Mapping[str | int, float] | None = None,
        liked: Iterable[str | int] = (),
        disliked: Iterable[str | int] = (),
        seen: Iterable[str | int] = (),
        k: int = 10,
    ) -> pl.DataFrame:
        """Return the `k` best movies for one person, which they have not rated or seen.

        Args:
            user: Id of a user of the data. What follows adds to the user's own ratings.
            ratings: Stars above 0 and up to 5 by movie, the oldest first. From 4 on a movie is
                liked, below it is disliked.
            liked: Movies, the oldest first; newer than `ratings`.
            disliked: Movies that the person rates low.
            seen: Movies that are only not to be recommended.
            k: Number of movies.

        Returns:
            A row per movie, the best first: `user_id`, which is null for a new person, `movie_id`,
            `score` (comparable within the list only), `rank` from 1, `title`, `genres`,
            `generators` that proposed the movie with its rank there, and the movie that explains
            it, `explanation_id` and `explanation`, or nulls.

        Raises:
            StageError: The user or a movie is not in the data, or a value is out of its range.
        """
        if k < 1:
            raise StageError(f"k: is {k}; give 1 or more")
        number = NEW_USER
        if user is not None:
            number = int(find_users(pl.Series([str(user)]), self._pipeline.user_ids)[0])
        said = {"liked": liked, "disliked": disliked, "seen": seen}
        options = Feedback(
            *([self._search.find(str(m), kind) for m in movies] for kind, movies in said.items())
        )
        for movie in options.liked:
            if movie in options.disliked:
                raise StageError(f"disliked: {self._title(movie)} is also liked; give it once")
        feedback = join_feedback(self._feedback(ratings or {}), options)
        table = self._pipeline.for_person(
            number, feedback.liked, k, disliked=feedback.disliked, seen=feedback.seen
        )
        return self._pipeline.with_raw_ids(table)

    def recommend_users(
        self, users: Iterable[str | int] | None = None, k: int = 10
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of `recommend` for many users of the data, a batch of users at a time.

        Args:
            users: Ids, or None for all users who have a positive.
            k: Movies per user.

        Raises:
            StageError: Some of the users are not in the data or have no positive.
        """
        numbers = self._pipeline.users
        if users is not None:
            ids = pl.Series([str(user) for user in users], dtype=pl.String)
            numbers = find_users(ids, self._pipeline.user_ids)
        for batch in self._pipeline.for_users(numbers, k):
            yield self._pipeline.with_raw_ids(batch)

    def _feedback(self, ratings: Mapping[str | int, float]) -> Feedback:
        """Return stars as liked and disliked movies."""
        for movie, stars in ratings.items():
            if not 0 < stars <= BEST_RATING:
                raise StageError(f"ratings: {movie} has {stars}; give above 0 and up to 5 stars")
        newest: dict[int, float] = {}  # two texts may name one movie
        for text, stars in ratings.items():
            movie = self._search.find(str(text), "ratings")
            newest.pop(movie, None)
            newest[movie] = stars
        liked = [m for m, stars in newest.items() if stars >= POSITIVE_SHARE * BEST_RATING]
        return Feedback(liked, [m for m in newest if m not in liked])

    def _title(self, movie: int) -> str:
        return self._pipeline.catalogue.filter(movie_id=movie)["title"][0]
