"""The groups of features of (user, candidate) pairs, from all that a snapshot knows.

A group is a function of the context of a snapshot and a batch of users; `stages.ranking.features`
calls it. It returns [b, n] columns by name, for `b` users of `n` candidates. `now` is the time of
the user's newest positive before the query.

With leave-one-out, a snapshot knows positives of other users that are later than `now`. The groups
`popularity_rank`, `popularity`, `item_item_weights`, `embedding_similarity` and
`retriever_log_softmax` count them, as the generators' scores do, and so does the column
`positives_before_share`. The windows of `recency` end at `now`. With the global time split, nothing
is later than the cut.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.common.tables import DAY
from stages.data.pairs import count_at_most, pair_keys

DECAY = 0.8  # weight of a positive, relative to the next newer one
# Names of the newest parts of a history, and their number of movies (None: all).
WINDOWS = (("last_1", 1), ("last_3", 3), ("last_5", 5), ("last_10", 10), ("mean", None))
Columns = dict[str, np.ndarray]


class FeatureContext(NamedTuple):
    """What a snapshot knows, as arrays. A movie's index is its position in `movie_ids`."""

    movie_ids: np.ndarray  # [movies] the whole catalogue, sorted
    years: np.ndarray  # [movies] float32, NaN where unknown
    genres: np.ndarray  # [movies, genres] float32 zeros and ones
    positive_counts: np.ndarray  # [movies] float32
    popularity_rank: np.ndarray  # [movies] float32
    positive_times: np.ndarray  # sorted pair keys (movie index, time) of all positives
    first_positive: np.ndarray  # [movies] index of each movie's first key in `positive_times`
    unit_vectors: np.ndarray  # [movies, d] of length 1, or zeros where the retriever has none
    vectors: np.ndarray  # [movies, d] the same, not normalized
    has_no_vector: np.ndarray  # [movies] bool
    user_vectors: tuple[np.ndarray, np.ndarray]  # sorted [users] ids and [users, d] vectors
    # Of each item-to-item model: its index of every movie (-1: none), and its [m, m] weights.
    item_item: dict[str, tuple[np.ndarray, np.ndarray]]


class Batch(NamedTuple):
    """Candidates and histories of `b` users, padded. Movies are indices in `movie_ids`."""

    movies: np.ndarray  # [b, n] candidates
    is_candidate: np.ndarray  # [b, n] bool, False at padding
    history: np.ndarray  # [b, l] newest first
    history_mask: np.ndarray  # [b, l] float32, 1 where `history` holds a movie
    times: np.ndarray  # [b, l] seconds, 0 at padding
    history_length: np.ndarray  # [b] all positives of the user; `history` may have fewer
    users: np.ndarray  # [b] ids


def _mean_of_newest(batch: Batch, values: np.ndarray, count: int | None) -> np.ndarray:
    """Return the [b, n] means of [b, l, n] `values` over the newest `count` movies (None: all)."""
    weights = batch.history_mask[:, :count]
    total = (weights[:, None] @ values[:, :count])[:, 0]
    return total / np.maximum(weights.sum(axis=1), 1)[:, None]


def retriever_log_softmax(context: FeatureContext, batch: Batch) -> Columns:
    """Log of the candidate's share in the retriever's softmax over all movies."""
    ids, vectors = context.user_vectors
    scores = vectors[np.searchsorted(ids, batch.users)] @ context.vectors.T
    scores[:, context.has_no_vector] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    candidate_scores = np.take_along_axis(scores, batch.movies, axis=1)
    normaliser = np.log(np.exp(scores, out=scores).sum(axis=1, keepdims=True))
    return {"retriever_log_softmax": candidate_scores - normaliser}


def embedding_similarity(context: FeatureContext, batch: Batch) -> Columns:
    """Mean and maximum cosines of the candidate's vector with the vectors of the history."""
    candidates = context.unit_vectors[batch.movies].transpose(0, 2, 1)
    history = context.unit_vectors[batch.history]
    columns = {}
    for name, count in WINDOWS:
        # The mean of the cosines is the inner product with the mean of the unit vectors.
        mean_vector = _mean_of_newest(batch, history, count)
        columns[f"similarity_{name}"] = (mean_vector[:, None] @ candidates)[:, 0]
    # The newest movie replaces padding: that changes no maximum.
    history = np.where(batch.history_mask[:, :, None] > 0, history, history[:, :1])
    columns["similarity_max"] = (history @ candidates).max(axis=1)
    return columns


def item_item_weights(context: FeatureContext, batch: Batch) -> Columns:
    """Weights of the item-to-item models from the movies of the history to the candidate."""
    decay = (batch.history_mask * DECAY ** np.arange(batch.history_mask.shape[1])).astype(
        np.float32
    )
    columns: Columns = {}
    previous_index = None
    for name, (index, weights) in context.item_item.items():
        # The positions are computed once for all models that have the same movies.
        if previous_index is None or not np.array_equal(index, previous_index):
            previous_index = index
            history, candidates = index[batch.history], index[batch.movies]
            # Candidates are sorted, so each row of the weights is read from left to right.
            rows, cols = np.maximum(history, 0) * len(weights), np.maximum(candidates, 0)
            positions = rows[:, :, None] + cols[:, None, :]
            has_weights = (history >= 0) * batch.history_mask
        values = np.take(weights, positions)
        if not has_weights.all():
            values *= has_weights[:, :, None]
        aggregates = {
            "last_1": _mean_of_newest(batch, values, 1),
            "last_5": _mean_of_newest(batch, values, 5),
            "max": values.max(axis=1),
            "decayed": (decay[:, None] @ values)[:, 0],
        }
        columns |= {f"{name}_{key}": value * (candidates >= 0) for key, value in aggregates.items()}
    return columns


def genre(context: FeatureContext, batch: Batch) -> Columns:
    """Cosines of the candidate's genres with the genres of the whole and the recent history."""
    candidates, history = context.genres[batch.movies], context.genres[batch.history]
    norm = np.maximum(np.linalg.norm(candidates, axis=2), 1e-9)
    columns = {"genre_count": candidates.sum(axis=2)}
    for name, count in (("history", None), ("last_5", 5)):
        profile = np.einsum("blg,bl->bg", history[:, :count], batch.history_mask[:, :count])
        size = np.maximum(np.linalg.norm(profile, axis=1), 1e-9)
        match = np.einsum("bng,bg->bn", candidates, profile) / norm / size[:, None]
        columns[f"genre_match_{name}"] = match
        if count is None:
            share = profile / np.maximum(profile.sum(axis=1, keepdims=True), 1e-9)
            entropy = -(share * np.log(np.maximum(share, 1e-9))).sum(axis=1)
            columns["genre_entropy"] = np.broadcast_to(entropy[:, None], batch.movies.shape)
    return columns


def popularity_rank(context: FeatureContext, batch: Batch) -> Columns:
    """The candidate's rank among all movies by positives."""
    return {"popularity_rank": context.popularity_rank[batch.movies]}


def popularity(context: FeatureContext, batch: Batch) -> Columns:
    """Positives of the candidate, and their difference to the mean over the user's history."""
    logs, mask = np.log1p(context.positive_counts), batch.history_mask
    mean = (logs[batch.history] * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    candidates = logs[batch.movies]
    return {"log_positives": candidates, "popularity_gap": candidates - mean[:, None]}


def recency(context: FeatureContext, batch: Batch) -> Columns:
    """Positives of the candidate in the days before `now`, and the time since the newest of them.

    The positives of a movie are a range of the sorted keys, and so are those up to any time. For
    example, for the movie 7 with positives on the days 1, 20 and 90, and `now` on day 40:

        keys            ..., (7, 1), (7, 20), (7, 90), ...
        up to day 40    2 of the movie's keys (`end` - `first`), the newest of them from day 20
        up to day 10    1 of them, so 1 is in the 30 days before `now`
    """
    now, windows = batch.times[:, :1], (7, 30, 365)
    # Positives of the second `now` count: the snapshot knows them too.
    until = np.stack([now, *(np.maximum(now - days * DAY, 0) for days in windows)])
    end, *starts = count_at_most(context.positive_times, pair_keys(batch.movies, until))
    first = context.first_positive[batch.movies]
    columns = {}
    for days, start in zip(windows, starts):
        columns[f"log_positives_{days}_days"] = np.log1p(end - start)
    newest = context.positive_times[np.maximum(end - 1, 0)] & 0xFFFFFFFF  # the time of the key
    columns["days_since_positive"] = np.where(end > first, (now - newest) / DAY, np.nan)
    counts = np.maximum(context.positive_counts[batch.movies], 1)
    columns["positives_before_share"] = (end - first) / counts
    return columns


def year(context: FeatureContext, batch: Batch) -> Columns:
    """The candidate's year and its age at `now`, and the difference to the history's mean year."""
    candidates, history = context.years[batch.movies], context.years[batch.history]
    now = 1970 + batch.times[:, :1] / (365.2425 * DAY)
    columns = {"year": candidates, "movie_age": now - candidates}
    for name, count in (("history", None), ("last_5", 5)):
        has_year = (batch.history_mask[:, :count] > 0) & ~np.isnan(history[:, :count])
        total = np.where(has_year, history[:, :count], 0).sum(axis=1)
        mean = total / np.maximum(has_year.sum(axis=1), 1)
        gap = candidates - np.where(has_year.any(axis=1), mean, np.nan)[:, None]
        columns[f"year_gap_{name}"] = gap
        columns[f"year_distance_{name}"] = np.abs(gap)
    return columns


def activity(context: FeatureContext, batch: Batch) -> Columns:
    """The number of the user's positives, and the time between them; equal for all candidates."""
    count = np.maximum(batch.history_mask.sum(axis=1), 1)

    def positive_time(index: int) -> np.ndarray:
        """Return the time of the positive `index` before the newest, at most of the oldest."""
        return batch.times[np.arange(len(count)), np.minimum(count.astype(int) - 1, index)]

    newest, oldest = positive_time(0), positive_time(batch.times.shape[1])
    days = (newest - oldest) / DAY
    per_user = {
        "history_length": batch.history_length,
        "history_days": days,
        "days_per_positive": days / count,
        "days_between_last_2": (newest - positive_time(1)) / DAY,
        "days_between_last_5": (newest - positive_time(4)) / DAY,
    }
    shape = batch.movies.shape
    return {name: np.broadcast_to(value[:, None], shape) for name, value in per_user.items()}


GROUPS: dict[str, Callable[[FeatureContext, Batch], Columns]] = {
    function.__name__: function
    for function in (
        retriever_log_softmax,
        embedding_similarity,
        item_item_weights,
        genre,
        popularity_rank,
        popularity,
        recency,
        year,
        activity,
    )
}
