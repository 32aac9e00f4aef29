"""Features of (user, candidate) pairs, from one fold's past alone.

The past are a fold's histories, its likings, and models fitted on them. A ranker lists the
groups of features that it uses: some of `GROUPS` and `POOL_GROUPS`.
"""

import numpy as np
import polars as pl

from stages.engine import over
from stages.feature_groups import GROUPS, Batch, Columns, Past
from stages.pairs import pair_keys

USERS_AT_ONCE = 32  # so that a batch stays in the processor's cache
POOL_GROUPS = ("score", "rank", "gap")


def past(
    catalogue: pl.DataFrame,
    genres: pl.DataFrame,
    popularity: pl.DataFrame,
    likings: pl.DataFrame,
    dislikes: pl.DataFrame,
    vectors: pl.DataFrame,
    queries: pl.DataFrame,
    similar: dict[str, dict[str, np.ndarray]],
) -> Past:
    """Number the movies and line everything up with them.

    Args:
        catalogue: CATALOGUE, sorted by movie.
        genres: The genre table, sorted likewise.
        popularity: POPULARITY of the fold, sorted likewise.
        likings: SPLIT rows known before the fold's targets.
        dislikes: DISLIKES of the fold, sorted by user and movie.
        vectors: A retriever's movie embeddings.
        queries: Its user embeddings, sorted by user.
        similar: `movie_ids` and `weights` of item-to-item models.
    """
    ids = catalogue["movie_id"].to_numpy()
    found = np.stack(vectors["embedding"].to_numpy())
    unit = np.zeros((len(ids), found.shape[1]), dtype=np.float32)
    lengths = np.zeros((len(ids), 1), dtype=np.float32)
    held = np.searchsorted(ids, vectors["movie_id"].to_numpy())
    lengths[held] = np.linalg.norm(found, axis=1, keepdims=True)
    unit[held] = found / np.maximum(lengths[held], 1e-9)
    numbers = np.searchsorted(ids, likings["movie_id"].to_numpy())
    every = np.arange(len(ids))
    times = np.sort(pair_keys(numbers, likings["timestamp"].to_numpy()))
    low = np.searchsorted(ids, dislikes["movie_id"].to_numpy())
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
        times,
        np.searchsorted(times, pair_keys(every, np.zeros_like(every))),
        np.bincount(low, minlength=len(ids)).astype(np.float32),
        # One more at the end, for keys beyond the last.
        np.append(pair_keys(dislikes["user_id"].to_numpy(), low), -1),
        np.append(dislikes["rating"].to_numpy(), np.float32(0)),
        unit,
        unit * lengths,
        lengths[:, 0] == 0,
        (queries["user_id"].to_numpy(), queries["embedding"].to_numpy()),
        places,
    )


def pool_features(pool: pl.DataFrame, groups: list[str]) -> pl.DataFrame:
    """The generators' own words: their score, their rank, the gap to their best score.

    Args:
        pool: user_id, movie_id, and `score_<generator>`, `rank_<generator>` columns.
        groups: Some of `POOL_GROUPS`.

    Returns:
        user_id, movie_id and the float32 features.
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
    return pool.select("user_id", "movie_id", *(column.cast(pl.Float32) for column in chosen))


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
    known = users["history_length"].to_numpy(), users["user_id"].to_numpy()
    return Batch(padded, real, history, liked, times, *known)


def build_features(
    candidates: pl.DataFrame, histories: pl.DataFrame, data: Past, groups: list[str]
) -> pl.DataFrame:
    """Append the float32 features of those `groups` that look at the user's and movie's past.

    Args:
        candidates: user_id, movie_id and any other columns, sorted by user; every user has a row
            in `histories`.
        histories: HISTORIES.
        data: The fold's past.
        groups: Names from `GROUPS`; others are left out.
    """
    counts = candidates.group_by("user_id", maintain_order=True).len()
    users = counts.select("user_id").join(
        histories, on="user_id", how="left", maintain_order="left"
    )
    sizes = counts["len"].to_numpy().astype(np.int64)
    ends = np.cumsum(sizes)
    numbers = np.searchsorted(data.movie_ids, candidates["movie_id"].to_numpy())
    made = [GROUPS[name] for name in GROUPS if name in groups]

    def part(start: int) -> Columns:
        some = slice(start, start + USERS_AT_ONCE)
        rows = slice(ends[start] - sizes[start], ends[some][-1])
        batch = _batch(data, numbers[rows], sizes[some], users[some])
        columns: Columns = {}
        for group in made:
            columns |= group(data, batch)
        return {k: v[batch.real].astype(np.float32) for k, v in columns.items()}

    starts = range(0, len(sizes) if made else 0, USERS_AT_ONCE)
    parts = list(over(part, starts, send=False))
    flat = {k: np.concatenate([part[k] for part in parts]) for k in (parts[0] if parts else {})}
    return pl.concat([candidates, pl.DataFrame(flat)], how="horizontal")
