"""The groups of features of (user, candidate) pairs; `stages.features` feeds them.

Everything is as of the last thing that the user is known to have liked.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.pairs import ordered_places, pair_keys

DAY = 86_400
DECAY = 0.8  # weight of a liking relative to the one after it
PRIOR = 5  # ratings with the mean share of likings that every movie starts with
Columns = dict[str, np.ndarray]


class Past(NamedTuple):
    """What features are computed from; movies are numbered as in the sorted `movie_ids`."""

    movie_ids: np.ndarray  # [movies] the whole catalogue
    years: np.ndarray  # [movies] float32, NaN where unknown
    genres: np.ndarray  # [movies, genres] float32 zeros and ones
    likings: np.ndarray  # [movies] float32 counts
    popularity_rank: np.ndarray  # [movies] float32
    times: np.ndarray  # sorted pair keys of movie number and time of all likings
    first_times: np.ndarray  # [movies] where each movie's begin
    dislikes: np.ndarray  # [movies] float32 counts of ratings too low for a liking
    disliked: np.ndarray  # sorted pair keys of user id and movie number of those ratings, then -1
    disliked_stars: np.ndarray  # [disliked + 1] float32
    vectors: np.ndarray  # [movies, d] unit length, or zeros where the retriever has none
    scored: np.ndarray  # [movies, d] those vectors in their own length
    unscored: np.ndarray  # [movies] bool, True where the retriever has no vector
    queries: tuple[np.ndarray, np.ndarray]  # the retriever's users: sorted [n] ids, [n, d] vectors
    similar: dict[str, tuple[np.ndarray, np.ndarray]]  # model: [movies] places, [n, n] weights


class Batch(NamedTuple):
    """Some users' candidates and histories, padded; the flat rows are `rows` of the pool."""

    movies: np.ndarray  # [b, n] numbers of candidates
    real: np.ndarray  # [b, n] bool
    history: np.ndarray  # [b, l] numbers, newest first
    liked: np.ndarray  # [b, l] float32, 1 where `history` holds a movie
    times: np.ndarray  # [b, l] seconds, 0 as padding
    history_length: np.ndarray  # [b] before it was cut
    users: np.ndarray  # [b] ids


def _newest(batch: Batch, values: np.ndarray, count: int | None) -> np.ndarray:
    """Mean of [b, l, n] `values` over the newest `count` liked movies (None = all): [b, n]."""
    weights = batch.liked[:, :count]
    total = (weights[:, None] @ values[:, :count])[:, 0]
    return total / np.maximum(weights.sum(axis=1), 1)[:, None]


def tower(data: Past, batch: Batch) -> Columns:
    """Log of the share that the retriever's softmax over all movies gives the candidate."""
    users, vectors = data.queries
    known = np.isin(batch.users, users)
    place = np.searchsorted(users, batch.users[known])
    scores = vectors[place] @ data.scored.T
    scores[:, data.unscored] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    own = np.take_along_axis(scores, batch.movies[known], axis=1)
    column = np.full(batch.movies.shape, np.nan, dtype=np.float32)
    column[known] = own - np.log(np.exp(scores, out=scores).sum(axis=1, keepdims=True))
    return {"tower_log_share": column}


def similarity(data: Past, batch: Batch) -> Columns:
    """Cosine of the candidate's vector to those of the history."""
    own = data.vectors[batch.movies].transpose(0, 2, 1)
    liked = data.vectors[batch.history]
    columns = {}
    for name, count in (
        ("last_1", 1),
        ("last_3", 3),
        ("last_5", 5),
        ("last_10", 10),
        ("mean", None),
    ):
        # The mean of the cosines is the product with the mean vector.
        usual = _newest(batch, liked, count)
        columns[f"similarity_{name}"] = (usual[:, None] @ own)[:, 0]
    # In the place of padding the newest movie, which changes no maximum.
    liked = np.where(batch.liked[:, :, None] > 0, liked, liked[:, :1])
    columns["similarity_max"] = (liked @ own).max(axis=1)
    return columns


def cooccurrence(data: Past, batch: Batch) -> Columns:
    """Item-to-item weights from the newest liked movies to the candidate."""
    decay = (batch.liked * DECAY ** np.arange(batch.liked.shape[1])).astype(np.float32)
    columns = {}
    for name, (place, weights) in data.similar.items():
        liked, wanted = place[batch.history], place[batch.movies]
        # Row after row of the weights, each from left to right: candidates are sorted.
        rows, own = np.maximum(liked, 0) * len(weights), np.maximum(wanted, 0)
        each = np.take(weights, rows[:, :, None] + own[:, None, :])
        each *= ((liked >= 0) * batch.liked)[:, :, None]
        made = {
            "last_1": _newest(batch, each, 1),
            "last_5": _newest(batch, each, 5),
            "max": each.max(axis=1),
            "decayed": (decay[:, None] @ each)[:, 0],
        }
        columns |= {f"{name}_{kind}": value * (wanted >= 0) for kind, value in made.items()}
    return columns


def genre(data: Past, batch: Batch) -> Columns:
    """How the candidate's genres agree with those of the whole and of the recent history."""
    own, liked = data.genres[batch.movies], data.genres[batch.history]
    norm = np.maximum(np.linalg.norm(own, axis=2), 1e-9)
    columns = {"genre_count": own.sum(axis=2)}
    for name, count in (("history", None), ("last_5", 5)):
        profile = np.einsum("blg,bl->bg", liked[:, :count], batch.liked[:, :count])
        size = np.maximum(np.linalg.norm(profile, axis=1), 1e-9)
        match = np.einsum("bng,bg->bn", own, profile) / norm / size[:, None]
        columns[f"genre_match_{name}"] = match
        if count is None:
            share = profile / np.maximum(profile.sum(axis=1, keepdims=True), 1e-9)
            entropy = -(share * np.log(np.maximum(share, 1e-9))).sum(axis=1)
            columns["genre_entropy"] = np.broadcast_to(entropy[:, None], batch.movies.shape)
    return columns


def popularity_rank(data: Past, batch: Batch) -> Columns:
    """The candidate's place among all movies by likings."""
    return {"popularity_rank": data.popularity_rank[batch.movies]}


def popularity(data: Past, batch: Batch) -> Columns:
    """Likings of the candidate, of all time and against what the user usually likes."""
    logs = np.log1p(data.likings)
    usual = (logs[batch.history] * batch.liked).sum(axis=1) / np.maximum(batch.liked.sum(axis=1), 1)
    own = logs[batch.movies]
    return {"log_likings": own, "popularity_gap": own - usual[:, None]}


def dislikes(data: Past, batch: Batch) -> Columns:
    """Whether the user has rated the candidate low; how often it, and the user, is disappointed."""
    keys = pair_keys(batch.users[:, None], batch.movies)
    disliked = data.disliked[:-1]
    place = np.searchsorted(disliked, keys)
    stars = np.where(data.disliked[place] == keys, data.disliked_stars[place], np.nan)
    liked, low = data.likings[batch.movies], data.dislikes[batch.movies]
    mean = data.likings.sum() / max(data.likings.sum() + data.dislikes.sum(), 1)
    last = np.full_like(batch.users, np.iinfo(np.int32).max)
    mine = np.searchsorted(disliked, pair_keys(batch.users, last), side="right")
    mine -= np.searchsorted(disliked, pair_keys(batch.users, np.zeros_like(last)))
    share = batch.history_length / (batch.history_length + mine)
    return {
        "own_rating": stars,
        "log_ratings": np.log1p(liked + low),
        "liked_share": (liked + PRIOR * mean) / (liked + low + PRIOR),
        "user_liked_share": np.broadcast_to(share[:, None], keys.shape),
    }


def recency(data: Past, batch: Batch) -> Columns:
    """Likings of the candidate in the days before the user's last one, and how long ago."""
    now, periods = batch.times[:, :1], (7, 30, 365)
    # Likings of the same second count as known: they are in the fold's past as well.
    until = np.stack([now, *(np.maximum(now - days * DAY, 0) for days in periods)])
    end, *starts = ordered_places(data.times, pair_keys(batch.movies, until))
    first = data.first_times[batch.movies]
    columns = {}
    for days, start in zip(periods, starts):
        columns[f"log_likings_{days}_days"] = np.log1p(end - start)
    last = data.times[np.maximum(end - 1, 0)] & 0xFFFFFFFF
    columns["days_since_liked"] = np.where(end > first, (now - last) / DAY, np.nan)
    columns["likings_before_share"] = (end - first) / np.maximum(data.likings[batch.movies], 1)
    return columns


def year(data: Past, batch: Batch) -> Columns:
    """The candidate's age when the user last liked something, and against the usual year."""
    own, liked = data.years[batch.movies], data.years[batch.history]
    now = 1970 + batch.times[:, :1] / (365.2425 * DAY)
    columns = {"year": own, "movie_age": now - own}
    for name, count in (("history", None), ("last_5", 5)):
        known = (batch.liked[:, :count] > 0) & ~np.isnan(liked[:, :count])
        total = np.where(known, liked[:, :count], 0).sum(axis=1)
        usual = total / np.maximum(known.sum(axis=1), 1)
        gap = own - np.where(known.any(axis=1), usual, np.nan)[:, None]
        columns[f"year_gap_{name}"] = gap
        columns[f"year_distance_{name}"] = np.abs(gap)
    return columns


def activity(data: Past, batch: Batch) -> Columns:
    """How much and how fast the user likes; the same for all candidates."""
    count = np.maximum(batch.liked.sum(axis=1), 1)

    def nth(back: int) -> np.ndarray:
        """Time of the liking `back` places before the newest, or of the oldest known."""
        return batch.times[np.arange(len(count)), np.minimum(count.astype(int) - 1, back)]

    newest, oldest = nth(0), nth(batch.times.shape[1])
    span = (newest - oldest) / DAY
    per_user = {
        "history_length": batch.history_length,
        "history_days": span,
        "days_per_liking": span / count,
        "days_between_last_2": (newest - nth(1)) / DAY,
        "days_between_last_5": (newest - nth(4)) / DAY,
    }
    shape = batch.movies.shape
    return {name: np.broadcast_to(value[:, None], shape) for name, value in per_user.items()}


GROUPS: dict[str, Callable[[Past, Batch], Columns]] = {
    "tower": tower,
    "similarity": similarity,
    "cooccurrence": cooccurrence,
    "genre": genre,
    "popularity_rank": popularity_rank,
    "popularity": popularity,
    "dislikes": dislikes,
    "recency": recency,
    "year": year,
    "activity": activity,
}
