"""Features of (user, candidate) pairs, as of the last thing the user is known to have liked.

Everything comes from one fold's past: its histories, its likings, and models fitted on them.
Groups of features are named in `GROUPS`; a ranker lists the groups that it uses.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from stages.top_k import pair_keys

USERS_AT_ONCE = 256
DAY = 86_400
DECAY = 0.8  # weight of a liking relative to the one after it
Columns = dict[str, np.ndarray]


class Past(NamedTuple):
    """What features are computed from; movies are numbered as in the sorted `movie_ids`."""

    movie_ids: np.ndarray  # [movies] the whole catalogue
    years: np.ndarray  # [movies] float32, NaN where unknown
    genres: np.ndarray  # [movies, genres] float32 zeros and ones
    likings: np.ndarray  # [movies] float32 counts
    popularity_rank: np.ndarray  # [movies] float32
    times: np.ndarray  # sorted pair keys of movie number and time of all likings
    vectors: np.ndarray  # [movies, d] unit length, or zeros where the retriever has none
    similar: dict[str, tuple[np.ndarray, np.ndarray]]  # model: [movies] places, [n, n] weights


class Batch(NamedTuple):
    """Some users' candidates and histories, padded; the flat rows are `rows` of the pool."""

    movies: np.ndarray  # [b, n] numbers of candidates
    real: np.ndarray  # [b, n] bool
    history: np.ndarray  # [b, l] numbers, newest first
    liked: np.ndarray  # [b, l] float32, 1 where `history` holds a movie
    times: np.ndarray  # [b, l] seconds, 0 as padding
    history_length: np.ndarray  # [b] before it was cut


def past(
    catalogue: pl.DataFrame,
    genres: pl.DataFrame,
    popularity: pl.DataFrame,
    likings: pl.DataFrame,
    vectors: pl.DataFrame,
    similar: dict[str, dict[str, np.ndarray]],
) -> Past:
    """Number the movies and line everything up with them.

    Args:
        catalogue: CATALOGUE, sorted by movie.
        genres: The genre table, sorted likewise.
        popularity: POPULARITY of the fold, sorted likewise.
        likings: SPLIT rows known before the fold's targets.
        vectors: A retriever's movie embeddings.
        similar: `movie_ids` and `weights` of item-to-item models.
    """
    ids = catalogue["movie_id"].to_numpy()
    found = np.stack(vectors["embedding"].to_numpy())
    unit = np.zeros((len(ids), found.shape[1]), dtype=np.float32)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    unit[np.searchsorted(ids, vectors["movie_id"].to_numpy())] = found / np.maximum(length, 1e-9)
    numbers = np.searchsorted(ids, likings["movie_id"].to_numpy())
    places = {}
    for name, arrays in similar.items():
        place = np.full(len(ids), -1)
        place[np.searchsorted(ids, arrays["movie_ids"])] = np.arange(len(arrays["movie_ids"]))
        places[name] = (place, arrays["weights"])
    return Past(
        ids,
        catalogue["year"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        genres.drop("movie_id").to_numpy().astype(np.float32),
        popularity["likings"].to_numpy().astype(np.float32),
        popularity["popularity_rank"].to_numpy().astype(np.float32),
        np.sort(pair_keys(numbers, likings["timestamp"].to_numpy())),
        unit,
        places,
    )


def _newest(batch: Batch, values: np.ndarray, count: int | None) -> np.ndarray:
    """Mean of [b, n, l] `values` over the newest `count` liked movies (None = all): [b, n]."""
    weights = batch.liked[:, :count]
    total = np.einsum("bnl,bl->bn", values[:, :, :count], weights)
    return total / np.maximum(weights.sum(axis=1), 1)[:, None]


def similarity(data: Past, batch: Batch) -> Columns:
    """Cosine of the candidate's vector to those of the history."""
    each = np.einsum("bnd,bld->bnl", data.vectors[batch.movies], data.vectors[batch.history])
    columns = {f"similarity_last_{k}": _newest(batch, each, k) for k in (1, 3, 5, 10)}
    columns["similarity_mean"] = _newest(batch, each, None)
    columns["similarity_max"] = np.where(batch.liked[:, None] > 0, each, -1).max(axis=2)
    return columns


def cooccurrence(data: Past, batch: Batch) -> Columns:
    """Item-to-item weights from the newest liked movies to the candidate."""
    decay = (batch.liked * DECAY ** np.arange(batch.liked.shape[1])).astype(np.float32)
    columns = {}
    for name, (place, weights) in data.similar.items():
        liked, wanted = place[batch.history], place[batch.movies]
        both = (liked[:, None, :] >= 0) & (wanted[:, :, None] >= 0) & (batch.liked[:, None] > 0)
        each = np.where(both, weights[liked[:, None, :], wanted[:, :, None]], 0)
        columns[f"{name}_last_1"] = _newest(batch, each, 1)
        columns[f"{name}_last_5"] = _newest(batch, each, 5)
        columns[f"{name}_max"] = each.max(axis=2)
        columns[f"{name}_decayed"] = np.einsum("bnl,bl->bn", each, decay)
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


def recency(data: Past, batch: Batch) -> Columns:
    """Likings of the candidate in the days before the user's last one, and how long ago."""
    now = np.broadcast_to(batch.times[:, :1], batch.movies.shape)
    # Likings of the same second count as known: they are in the fold's past as well.
    end = np.searchsorted(data.times, pair_keys(batch.movies, now), side="right")
    first = np.searchsorted(data.times, pair_keys(batch.movies, np.zeros_like(now)))
    columns = {}
    for days in (7, 30, 365):
        then = np.maximum(now - days * DAY, 0)
        start = np.searchsorted(data.times, pair_keys(batch.movies, then), side="right")
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
    "similarity": similarity,
    "cooccurrence": cooccurrence,
    "genre": genre,
    "popularity_rank": popularity_rank,
    "popularity": popularity,
    "recency": recency,
    "year": year,
    "activity": activity,
}
POOL_GROUPS = ("score", "rank", "gap")


def pool_features(pool: pl.DataFrame, groups: list[str]) -> pl.DataFrame:
    """The generators' own words: their score, their rank, the gap to their best score.

    Args:
        pool: user_id, movie_id, and `score_<generator>`, `rank_<generator>` columns.
        groups: Some of `POOL_GROUPS`.
    """
    scores = [name for name in pool.columns if name.startswith("score_")]
    names = [name.removeprefix("score_") for name in scores]
    best = [pl.col(f"score_{n}").max().over("user_id") for n in names]
    made = {
        "score": [pl.col(name) for name in scores],
        "rank": [pl.col(f"rank_{n}") for n in names],
        "gap": [(b - pl.col(f"score_{n}")).alias(f"gap_{n}") for n, b in zip(names, best)],
    }
    chosen = [column for group in POOL_GROUPS if group in groups for column in made[group]]
    return pool.select(column.cast(pl.Float32) for column in chosen)


def _batch(data: Past, movies: np.ndarray, sizes: np.ndarray, users: pl.DataFrame) -> Batch:
    """Pad the flat candidates of some users, and their histories with the newest first."""
    real = np.arange(sizes.max()) < sizes[:, None]
    padded = np.zeros(real.shape, dtype=np.int64)
    padded[real] = movies
    lengths = users["history"].list.len().to_numpy().astype(np.int64)
    held = np.arange(max(int(lengths.max()), 1)) < lengths[:, None]
    history, times = np.zeros(held.shape, dtype=np.int64), np.zeros(held.shape, dtype=np.int64)
    newest_first = users.select(pl.col("history", "timestamps").list.reverse())
    ids = newest_first["history"].explode().drop_nulls().to_numpy()
    history[held] = np.searchsorted(data.movie_ids, ids)
    times[held] = newest_first["timestamps"].explode().drop_nulls().to_numpy()
    liked = held.astype(np.float32)
    return Batch(padded, real, history, liked, times, users["history_length"].to_numpy())


def build_features(
    pool: pl.DataFrame, histories: pl.DataFrame, data: Past, groups: list[str]
) -> pl.DataFrame:
    """user_id, movie_id and the float32 features of all `groups`, one row per row of the pool.

    Args:
        pool: Candidates sorted by user; every user has a row in `histories`.
        histories: HISTORIES.
        data: The fold's past.
        groups: Names from `GROUPS` and `POOL_GROUPS`.
    """
    counts = pool.group_by("user_id", maintain_order=True).len()
    users = counts.select("user_id").join(
        histories, on="user_id", how="left", maintain_order="left"
    )
    sizes = counts["len"].to_numpy().astype(np.int64)
    ends = np.cumsum(sizes)
    numbers = np.searchsorted(data.movie_ids, pool["movie_id"].to_numpy())
    made = [GROUPS[name] for name in GROUPS if name in groups]
    parts: list[Columns] = []
    for start in range(0, len(sizes) if made else 0, USERS_AT_ONCE):
        some = slice(start, start + USERS_AT_ONCE)
        rows = slice(ends[start] - sizes[start], ends[some][-1])
        batch = _batch(data, numbers[rows], sizes[some], users[some])
        columns: Columns = {}
        for group in made:
            columns |= group(data, batch)
        parts.append({k: v[batch.real].astype(np.float32) for k, v in columns.items()})
    flat = {k: np.concatenate([part[k] for part in parts]) for k in (parts[0] if parts else {})}
    keys = pool.select("user_id", "movie_id")
    return pl.concat([keys, pool_features(pool, groups), pl.DataFrame(flat)], how="horizontal")
