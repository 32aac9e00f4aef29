"""Features of (user, candidate) pairs, computed from what one snapshot knows.

A ranker lists the groups of features that it uses. `GENERATOR_GROUPS` come from the candidate
lists; the groups of `stages.ranking.feature_groups` come from histories, movies and models.
"""

import numpy as np
import polars as pl

from stages.data.pairs import pair_keys
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
        merged: user_id, movie_id, and `score_<generator>`, `rank_<generator>` columns.
        groups: The ranker's groups; only the `GENERATOR_GROUPS` among them are computed here.

    Returns:
        user_id, movie_id and the float32 features.
    """
    scores = [name for name in merged.columns if name.startswith("score_")]
    names = [name.removeprefix("score_") for name in scores]
    best = [pl.col(f"score_{n}").max().over("user_id") for n in names]
    columns_by_group = {
        "score": [pl.col(name) for name in scores],
        "rank": [pl.col(f"rank_{n}") for n in names],
        "score_gap": [
            (b - pl.col(f"score_{n}")).alias(f"score_gap_{n}") for n, b in zip(names, best)
        ],
    }
    columns = [c for group in GENERATOR_GROUPS if group in groups for c in columns_by_group[group]]
    return merged.select("user_id", "movie_id", *(column.cast(pl.Float32) for column in columns))


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
    counts = candidates.group_by("user_id", maintain_order=True).len()
    users = counts.select("user_id").join(
        histories, on="user_id", how="left", maintain_order="left"
    )
    sizes = counts["len"].to_numpy().astype(np.int64)
    ends = np.cumsum(sizes)
    movies = np.searchsorted(context.movie_ids, candidates["movie_id"].to_numpy())
    functions = [GROUPS[name] for name in GROUPS if name in groups]

    def batch_columns(start: int) -> Columns:
        part = slice(start, start + FEATURE_BATCH_USERS)
        rows = slice(ends[start] - sizes[start], ends[part][-1])
        batch = _pad(context, movies[rows], sizes[part], users[part])
        columns: Columns = {}
        for function in functions:
            columns |= function(context, batch)
        return {k: v[batch.is_candidate].astype(np.float32) for k, v in columns.items()}

    starts = range(0, len(sizes) if functions else 0, FEATURE_BATCH_USERS)
    parts = list(parallel_map(batch_columns, starts, local_only=True))
    columns = {k: np.concatenate([part[k] for part in parts]) for k in (parts[0] if parts else {})}
    return pl.concat([candidates, pl.DataFrame(columns)], how="horizontal")


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
    lengths = users["history"].list.len().to_numpy().astype(np.int64)
    mask = np.arange(max(int(lengths.max()), 1)) < lengths[:, None]
    history, times = np.zeros(mask.shape, dtype=np.int64), np.zeros(mask.shape, dtype=np.int64)
    newest_first = users.select(pl.col("history", "timestamps").list.reverse())
    ids = newest_first["history"].explode().drop_nulls().to_numpy()
    history[mask] = np.searchsorted(context.movie_ids, ids)
    times[mask] = newest_first["timestamps"].explode().drop_nulls().to_numpy()
    return Batch(
        movies=candidates,
        is_candidate=is_candidate,
        history=history,
        history_mask=mask.astype(np.float32),
        times=times,
        history_length=users["history_length"].to_numpy(),
        users=users["user_id"].to_numpy(),
    )
