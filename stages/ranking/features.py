"""Features of (user, candidate) pairs, computed from what one snapshot knows.

A ranker lists the groups of features that it uses. `GENERATOR_GROUPS` come from the candidate
lists; the groups of `stages.ranking.feature_groups` come from histories, movies and models.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from stages.data.pairs import concat_ranges, group_starts, list_sizes_and_values, pair_keys
from stages.parallel.executor import parallel_map
from stages.ranking.feature_groups import GROUPS, Batch, Columns, FeatureContext

FEATURE_BATCH_USERS = 32  # so that a batch stays in the processor's cache
GENERATOR_GROUPS = ("score", "rank", "score_gap")


def build_context(
    *,
    catalogue: pl.DataFrame,
    genres: pl.DataFrame,
    popularity: pl.DataFrame,
    positives: pl.DataFrame,
    movie_vectors: pl.DataFrame,
    user_vectors: pl.DataFrame,
    item_item: dict[str, dict[str, np.ndarray]],
) -> FeatureContext:
    """Return the context of a snapshot, in which movies are indices in the catalogue.

    Args:
        catalogue: CATALOGUE, sorted by movie.
        genres: The genre table, sorted by movie.
        popularity: POPULARITY of the snapshot, sorted by movie.
        positives: movie_id and timestamp of the positives that the snapshot knows.
        movie_vectors: Movie embeddings of a retriever.
        user_vectors: Its user embeddings, sorted by user.
        item_item: `movie_ids` and `weights` of item-to-item models, by name.
    """
    ids = catalogue["movie_id"].to_numpy()
    embeddings = np.stack(movie_vectors["embedding"].to_numpy())
    unit_vectors = np.zeros((len(ids), embeddings.shape[1]), dtype=np.float32)
    lengths = np.zeros((len(ids), 1), dtype=np.float32)
    rows = np.searchsorted(ids, movie_vectors["movie_id"].to_numpy())
    lengths[rows] = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit_vectors[rows] = embeddings / np.maximum(lengths[rows], 1e-9)
    positive_movies = np.searchsorted(ids, positives["movie_id"].to_numpy())
    positive_times = np.sort(pair_keys(positive_movies, positives["timestamp"].to_numpy()))
    movies = np.arange(len(ids))
    indexed_models = {}
    for name, arrays in item_item.items():
        index = np.full(len(ids), -1)
        index[np.searchsorted(ids, arrays["movie_ids"])] = np.arange(len(arrays["movie_ids"]))
        indexed_models[name] = (index, arrays["weights"])
    return FeatureContext(
        movie_ids=ids,
        years=catalogue["year"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        genres=genres.drop("movie_id").to_numpy().astype(np.float32),
        positive_counts=popularity["positives"].to_numpy().astype(np.float32),
        popularity_rank=popularity["popularity_rank"].to_numpy().astype(np.float32),
        positive_times=positive_times,
        first_positive=np.searchsorted(positive_times, pair_keys(movies, np.zeros_like(movies))),
        unit_vectors=unit_vectors,
        vectors=unit_vectors * lengths,
        has_no_vector=lengths[:, 0] == 0,
        user_vectors=(user_vectors["user_id"].to_numpy(), user_vectors["embedding"].to_numpy()),
        item_item=indexed_models,
    )


def generator_features(merged: pl.DataFrame, groups: list[str]) -> pl.DataFrame:
    """Return each generator's score and rank of a candidate, and the gap to its best score.

    Args:
        merged: user_id, movie_id, and `score_<generator>`, `rank_<generator>` columns; sorted by
            user.
        groups: The ranker's groups; only the `GENERATOR_GROUPS` among them are computed here.

    Returns:
        user_id, movie_id and the float32 features, NaN where the generator lacks the movie.
    """
    names = [name.removeprefix("score_") for name in merged.columns if name.startswith("score_")]
    starts, sizes = group_starts(merged["user_id"].to_numpy())
    # NumPy would have to replace nulls in every function that reads them.
    values = merged.select(pl.exclude("user_id", "movie_id").cast(pl.Float32).fill_null(np.nan))

    def gap(name: str) -> pl.Series:
        scores = values[f"score_{name}"].to_numpy()
        best = np.repeat(np.fmax.reduceat(scores, starts) if len(starts) else scores, sizes)
        return pl.Series(f"score_gap_{name}", best - scores)

    columns_by_group: dict[str, Callable[[str], pl.Series]] = {
        "score": lambda name: values[f"score_{name}"],
        "rank": lambda name: values[f"rank_{name}"],
        "score_gap": gap,
    }
    functions = [columns_by_group[group] for group in GENERATOR_GROUPS if group in groups]
    columns = [function(name) for function in functions for name in names]
    return pl.DataFrame([merged["user_id"], merged["movie_id"], *columns])


def build_features(
    candidates: pl.DataFrame, histories: pl.DataFrame, context: FeatureContext, groups: list[str]
) -> pl.DataFrame:
    """Append the float32 features that come from histories, movies and models.

    Args:
        candidates: user_id, movie_id and any other columns, sorted by user; every user has a row
            in `histories`.
        histories: HISTORIES.
        context: What the snapshot knows.
        groups: The ranker's groups; only the `GROUPS` among them are computed here.

    Returns:
        `candidates` with more columns.
    """
    user_ids = candidates["user_id"].to_numpy()
    starts, sizes = group_starts(user_ids)
    positions = _rows_of(user_ids[starts], histories["user_id"].to_numpy())
    # Users with equally long histories share a batch, so that little of it is padding.
    lengths, _ = list_sizes_and_values(histories["history"])
    order = np.lexsort((sizes, lengths[positions]))
    users, sizes = histories[positions[order]], sizes[order]
    ends, rows = np.cumsum(sizes), concat_ranges(starts[order], sizes)
    movies = np.searchsorted(context.movie_ids, candidates["movie_id"].to_numpy()[rows])
    functions = [GROUPS[name] for name in GROUPS if name in groups]

    def batch_columns(start: int) -> Columns:
        part = slice(start, start + FEATURE_BATCH_USERS)
        batch_movies = movies[ends[start] - sizes[start] : ends[part][-1]]
        batch = _pad(context, batch_movies, sizes[part], users[part])
        columns: Columns = {}
        for function in functions:
            columns |= function(context, batch)
        return {k: v[batch.is_candidate].astype(np.float32) for k, v in columns.items()}

    batches = range(0, len(sizes) if functions else 0, FEATURE_BATCH_USERS)
    parts = list(parallel_map(batch_columns, batches, local_only=True))
    columns = {name: np.empty(len(rows), np.float32) for name in (parts[0] if parts else ())}
    for name, column in columns.items():
        column[rows] = np.concatenate([part[name] for part in parts])
    return pl.concat([candidates, pl.DataFrame(columns)], how="horizontal")


def _rows_of(users: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the position of each of `users` in `ids`, which has them all."""
    order = np.argsort(ids, kind="stable")
    rows = order[np.searchsorted(ids, users, sorter=order).clip(max=len(ids) - 1)]
    if (ids[rows] != users).any():
        raise ValueError("histories: lack a user of the candidates")
    return rows


def _pad(
    context: FeatureContext, movies: np.ndarray, sizes: np.ndarray, users: pl.DataFrame
) -> Batch:
    """Pad the candidates of some users, and their histories, newest first.

    For example, with `movies` [3, 5, 8] and `sizes` [2, 1]:

        movies        [[3, 5], [8, 0]]
        is_candidate  [[1, 1], [1, 0]]

    Args:
        context: Has the ids of the movies.
        movies: Indices of the candidates of all users, concatenated.
        sizes: [users] number of candidates.
        users: Rows of HISTORIES.
    """
    is_candidate = np.arange(sizes.max()) < sizes[:, None]
    candidates = np.zeros(is_candidate.shape, dtype=np.int64)
    candidates[is_candidate] = movies
    lengths, ids = list_sizes_and_values(users["history"])
    _, seconds = list_sizes_and_values(users["timestamps"])
    mask = np.arange(max(int(lengths.max()), 1)) < lengths[:, None]
    history, times = np.zeros(mask.shape, dtype=np.int64), np.zeros(mask.shape, dtype=np.int64)
    # The newest of a user's positives is the last one.
    positions = (np.cumsum(lengths)[:, None] - 1 - np.arange(mask.shape[1]))[mask]
    history[mask] = np.searchsorted(context.movie_ids, ids[positions])
    times[mask] = seconds[positions]
    return Batch(
        movies=candidates,
        is_candidate=is_candidate,
        history=history,
        history_mask=mask.astype(np.float32),
        times=times,
        history_length=users["history_length"].to_numpy(),
        users=users["user_id"].to_numpy(),
    )
