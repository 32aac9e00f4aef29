"""Quality of the lists beyond accuracy: one value per user, from the top k of the user's list.

    novelty           mean of -log2(share of the users who have the movie among their positives)
    popularity_lift   mean popularity of the list / mean popularity of the user's positives - 1
    genre_diversity   mean of 1 - cosine of the genres, over pairs of movies (Ziegler et al. 2005)
    vector_diversity  mean of 1 - cosine of the movies' vectors, over pairs of movies
    miscalibration    KL divergence of the list's genres from those of the user's positives, in
                      bits (Steck 2018)
    serendipity       1 if the list has a target that the popularity baseline's list lacks
    disliked          1 if the list has a movie that the user rates low after the query

A value is NaN where it is undefined: for a user without a list, a list of one movie, no genres.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from stages.data.pairs import isin_sorted, pair_keys, sorted_pair_keys
from stages.models.top_k import interaction_matrix

QUALITIES = (
    "novelty",
    "popularity_lift",
    "genre_diversity",
    "vector_diversity",
    "miscalibration",
    "serendipity",
    "disliked",
)
SMOOTHING = 0.01  # Steck's alpha: keeps the divergence finite for a genre that the list lacks


class ListContext(NamedTuple):
    """What the lists of all systems are compared with; movies are indexed by `movie_ids`."""

    users: np.ndarray  # [users] sorted ids of the evaluated queries
    movie_ids: np.ndarray  # [movies] the catalogue, sorted
    counts: np.ndarray  # [movies] float64 numbers of positives
    information: np.ndarray  # [movies] -log2 of the share of the users who have the movie
    genres: np.ndarray  # [movies, genres] float64, a row sums to 1, or to 0
    unit_genres: np.ndarray  # [movies, genres] the same of unit length, or zeros
    vectors: np.ndarray  # [movies, d] of unit length, or zeros
    profile_popularity: np.ndarray  # [users] mean `counts` of the user's positives
    profile_genres: np.ndarray  # [users, genres] sums of `genres` over the user's positives
    popular: np.ndarray  # sorted pair keys of the popularity baseline's top k
    targets: np.ndarray  # sorted pair keys of the test targets
    disliked: np.ndarray  # sorted pair keys of the movies that users rate low after the query


def build_list_context(
    *,
    users: np.ndarray,
    popularity: pl.DataFrame,
    genres: pl.DataFrame,
    vectors: pl.DataFrame,
    num_users: int,
    positives: pl.DataFrame,
    popular_lists: pl.DataFrame,
    targets: pl.DataFrame,
    disliked: pl.DataFrame,
) -> ListContext:
    """Index everything by the positions of users and movies.

    Args:
        users: Sorted ids of the evaluated queries.
        popularity: POPULARITY of the test snapshot, sorted by movie.
        genres: The genre table, sorted by movie.
        vectors: A retriever's movie embeddings.
        num_users: Users with a positive that the test snapshot knows.
        positives: user_id and movie_id of the positives before each query.
        popular_lists: The top k of the popularity baseline's RECOMMENDATIONS.
        targets: user_id and movie_id of the test targets.
        disliked: user_id and movie_id of the ratings after the query that are low.
    """
    ids = popularity["movie_id"].to_numpy()
    flags = genres.drop("movie_id").to_numpy().astype(np.float64)
    embeddings = np.stack(vectors["embedding"].to_numpy()).astype(np.float64)
    unit_vectors = np.zeros((len(ids), embeddings.shape[1]))
    rows = np.searchsorted(ids, vectors["movie_id"].to_numpy())
    unit_vectors[rows] = embeddings / np.maximum(
        np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12
    )
    counts = popularity["positives"].to_numpy().astype(np.float64)
    shares = flags / np.maximum(flags.sum(axis=1, keepdims=True), 1)
    profile = interaction_matrix(positives, users, ids)
    return ListContext(
        users=users,
        movie_ids=ids,
        counts=counts,
        information=-np.log2(np.maximum(counts, 1) / num_users),
        genres=shares,
        unit_genres=shares / np.maximum(np.linalg.norm(shares, axis=1, keepdims=True), 1e-12),
        vectors=unit_vectors,
        profile_popularity=(profile @ counts) / np.maximum(profile.sum(axis=1), 1),
        profile_genres=profile @ shares,
        popular=sorted_pair_keys(popular_lists),
        targets=sorted_pair_keys(targets),
        disliked=sorted_pair_keys(disliked),
    )


def mean_pairwise_distance(vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[n] means of 1 - cosine over the pairs of each list; NaN for a list of fewer than two.

    The sum over all pairs is (|sum of the vectors|^2 - the number of nonzero vectors) / 2.

    Args:
        vectors: [n, k, d] of unit length, or zeros.
        mask: [n, k] bool, False at padding.
    """
    vectors = vectors * mask[:, :, None]
    size = mask.sum(axis=1)
    total = vectors.sum(axis=1)
    squares = (vectors * vectors).sum(axis=(1, 2))
    pairs = size * (size - 1) / 2
    similarity = ((total * total).sum(axis=1) - squares) / 2
    return np.where(pairs > 0, 1 - similarity / np.maximum(pairs, 1), np.nan)


def list_quality(lists: pl.DataFrame, context: ListContext, k: int) -> pl.DataFrame:
    """Compute the quality of the top k of every user's list.

    Args:
        lists: RECOMMENDATIONS of one system.
        context: What they are compared with.
        k: Places that count.

    Returns:
        user_id and one float64 column per metric, one row per user of the context.
    """
    top = lists.filter(
        pl.col("rank") <= k, pl.col("user_id").is_in(pl.Series(context.users).implode())
    ).sort("user_id", "rank")
    row = np.searchsorted(context.users, top["user_id"].to_numpy())
    movies = np.zeros((len(context.users), k), dtype=np.int64)
    mask = np.zeros(movies.shape, dtype=bool)
    column = top["rank"].to_numpy().astype(np.int64) - 1
    movies[row, column] = np.searchsorted(context.movie_ids, top["movie_id"].to_numpy())
    mask[row, column] = True
    size = np.maximum(mask.sum(axis=1), 1)
    has_list = mask.any(axis=1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.where(has_list, (values * mask).sum(axis=1) / size, np.nan)

    keys = pair_keys(context.users[:, None], context.movie_ids[movies])

    def any_match(matches: np.ndarray) -> np.ndarray:
        return np.where(has_list, (matches & mask).any(axis=1), np.nan)

    popularity = np.maximum(context.profile_popularity, 1e-12)
    list_genres = (context.genres[movies] * mask[:, :, None]).sum(axis=1)
    is_surprise = isin_sorted(context.targets, keys) & ~isin_sorted(context.popular, keys)
    columns = (
        mean(context.information[movies]),
        mean(context.counts[movies]) / popularity - 1,
        mean_pairwise_distance(context.unit_genres[movies], mask),
        mean_pairwise_distance(context.vectors[movies], mask),
        miscalibration(context.profile_genres, list_genres),
        any_match(is_surprise),
        any_match(isin_sorted(context.disliked, keys)),
    )
    return pl.DataFrame({"user_id": context.users, **dict(zip(QUALITIES, columns, strict=True))})


def miscalibration(profile: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """[n] KL divergences of the lists' genres from the profiles' (Steck 2018, equation 6).

    KL(p || (1 - a) q + a p) with a = `SMOOTHING`; NaN where either has no genre.

    Args:
        profile: [n, genres] sums of the genres' shares over a user's positives.
        lists: [n, genres] the same over the user's list.
    """
    total, list_total = profile.sum(axis=1), lists.sum(axis=1)
    p = profile / np.maximum(total, 1e-12)[:, None]
    q = lists / np.maximum(list_total, 1e-12)[:, None]
    smooth = (1 - SMOOTHING) * q + SMOOTHING * p
    terms = np.where(p > 0, p * np.log2(np.where(p > 0, p, 1) / np.where(p > 0, smooth, 1)), 0)
    return np.where((total > 0) & (list_total > 0), terms.sum(axis=1), np.nan)


def gini(lists: pl.DataFrame, candidates: np.ndarray, k: int) -> float:
    """Gini coefficient of how often the candidates are in the top k of all lists.

    0 if all are in equally many lists, nearly 1 if one movie is in all of them (Fleder and
    Hosanagar 2009).

    Args:
        lists: RECOMMENDATIONS of the evaluated users.
        candidates: Sorted ids of the movies that may be recommended.
        k: Places that count.
    """
    top = lists.filter(pl.col("rank") <= k)["movie_id"].to_numpy()
    counts = np.sort(np.bincount(np.searchsorted(candidates, top), minlength=len(candidates)))
    n = len(counts)
    position = np.arange(1, n + 1)
    return float((2 * position - n - 1) @ counts / (n * max(counts.sum(), 1)))
