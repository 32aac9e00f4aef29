"""Add what a person says about movies to the tables of their ratings."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from stages.common.tables import HISTORIES, SEEN


class Feedback(NamedTuple):
    """The movie_id of movies that a person speaks of, each kind with the newest last.

    A movie is of one kind.
    """

    liked: Sequence[int] = ()  # positives
    disliked: Sequence[int] = ()  # low ratings
    seen: Sequence[int] = ()  # movies of which nothing else is known


def join_feedback(older: Feedback, newer: Feedback) -> Feedback:
    """Return both; the newer one counts for a movie of both.

    A movie that is seen and also liked or disliked in `newer` is no longer only seen.
    """
    opinions = {*newer.liked, *newer.disliked}
    newer = newer._replace(seen=[movie for movie in newer.seen if movie not in opinions])
    said = opinions.union(newer.seen)
    kept = ([movie for movie in movies if movie not in said] for movies in older)
    return Feedback(*([*old, *new] for old, new in zip(kept, newer)))


def empty_history(user: int) -> pl.DataFrame:
    """Return the row of HISTORIES of a user without positives."""
    row = {"user_id": user, "source_user_id": user, "history_length": 0}
    return pl.DataFrame([{**row, "history": [], "timestamps": []}], schema=HISTORIES)


def add_feedback(
    history: pl.DataFrame, seen: pl.DataFrame, feedback: Feedback, now: int, max_length: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the history and the seen movies of a person who also gives `feedback`.

    The last word counts: a movie that was rated low and is liked now is a positive, and the other
    way round. A movie that is only seen has a null as `positive`: no list holds it, and no model
    uses it.

    Args:
        history: The person's row of HISTORIES, of at most `max_length` movies.
        seen: SEEN of this person.
        feedback: Movies to add.
        now: Time of the new ratings, in seconds since 1970.
        max_length: Largest number of movies in a history.
    """
    if not any(map(len, feedback)):
        return history, seen
    # Lists of one person: each query of Polars would take longer than all of this.
    user, rated = history["user_id"][0], seen["movie_id"].to_list()
    positives = {movie for movie, is_positive in zip(rated, seen["positive"]) if is_positive}
    added = [movie for movie in dict.fromkeys(feedback.liked) if movie not in positives]
    dropped = positives.intersection(feedback.disliked)
    kinds = {
        **dict.fromkeys(set(feedback.seen).difference(rated)),
        **dict.fromkeys(feedback.disliked, False),
        **dict.fromkeys(added, True),
    }
    newest_first = [movie for movie in reversed(kinds) if kinds[movie] is not None]
    ages = {movie: age for age, movie in enumerate(newest_first)}
    columns = {
        "user_id": [user] * len(kinds),
        "movie_id": kinds,
        "positive": kinds.values(),
        "age": map(ages.get, kinds),
        "timestamp": [None if is_positive is None else now for is_positive in kinds.values()],
    }
    others = seen[[row for row, movie in enumerate(rated) if movie not in kinds]]
    others = others.with_columns(others["age"] + len(ages))
    events = [
        (movie, time)
        for movie, time in zip(history["history"][0], history["timestamps"][0])
        if movie not in dropped
    ]
    events += [(movie, now) for movie in added]
    movies, times = zip(*events[-max_length:]) if events else ((), ())
    row = {
        "user_id": [user],
        "source_user_id": history["source_user_id"],
        "history_length": [len(positives) - len(dropped) + len(added)],
        "history": [list(movies)],
        "timestamps": [list(times)],
    }
    rows = pl.DataFrame({name: list(values) for name, values in columns.items()}, schema=SEEN)
    return pl.DataFrame(row, schema=HISTORIES), pl.concat([others, rows]).sort("movie_id")
