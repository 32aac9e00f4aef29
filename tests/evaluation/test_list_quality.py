"""Every quality is compared with a plain loop over users and movies."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import entropy

from stages.evaluation.list_quality import (
    SMOOTHING,
    ListContext,
    build_list_context,
    gini,
    list_quality,
    mean_pairwise_distance,
    miscalibration,
)
from tests.small_tables import movie_popularity, ranked_lists

GENRES = {1: "A", 2: "A", 3: "B", 4: "AB", 5: ""}
VECTORS = {1: [1.0, 0.0], 2: [3.0, 4.0], 3: [0.0, -2.0], 4: [0.25, 0.25]}
COUNTS = {1: 8, 2: 4, 3: 2, 4: 1, 5: 0}
POSITIVES = {7: [1, 2], 8: [3, 4, 1], 9: [2]}
LISTS = {7: [3, 4, 5], 8: [2, 1]}  # user 9 has no list
TARGETS = {7: 4, 8: 1, 9: 3}
POPULAR = {7: [3], 8: [1, 2], 9: [1]}
DISLIKED = {7: [5], 9: [3]}


def pairs(movies: dict[int, list[int]]) -> pl.DataFrame:
    rows = [(user, movie) for user, ids in movies.items() for movie in ids]
    return pl.DataFrame(rows, schema=["user_id", "movie_id"], orient="row").cast(pl.Int32)


@pytest.fixture
def context() -> ListContext:
    flags = {f"genre_{g}": [int(g in GENRES[m]) for m in GENRES] for g in "AB"}
    genres = pl.DataFrame({"movie_id": list(GENRES), **flags})
    vectors = pl.DataFrame(
        {"movie_id": list(VECTORS), "embedding": list(VECTORS.values())},
        schema_overrides={"embedding": pl.Array(pl.Float32, 2)},
    )
    return build_list_context(
        users=np.array([7, 8, 9]),
        popularity=movie_popularity(COUNTS),
        genres=genres,
        vectors=vectors,
        num_users=len(POSITIVES),
        positives=pairs(POSITIVES),
        popular_lists=pairs(POPULAR),
        targets=pairs({user: [movie] for user, movie in TARGETS.items()}),
        disliked=pairs(DISLIKED),
    )


def recommendations() -> pl.DataFrame:
    return ranked_lists(
        [(user, movie, n + 1) for user, ids in LISTS.items() for n, movie in enumerate(ids)]
    )


def cosine(a: list[float], b: list[float]) -> float:
    norm = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b)) / norm if norm else 0.0


def genre_vector(movie: int) -> list[float]:
    return [float(g in GENRES[movie]) for g in "AB"]


def genre_shares(movies: list[int]) -> list[float]:
    shares = [0.0, 0.0]
    for movie in movies:
        for n, g in enumerate("AB"):
            shares[n] += (g in GENRES[movie]) / max(len(GENRES[movie]), 1)
    return [share / sum(shares) for share in shares]


def expected(user: int) -> dict[str, float]:
    ids = LISTS[user]
    couples = [(a, b) for n, a in enumerate(ids) for b in ids[n + 1 :]]
    p, q = genre_shares(POSITIVES[user]), genre_shares(ids)
    smooth = [(1 - SMOOTHING) * b + SMOOTHING * a for a, b in zip(p, q)]
    popularity = sum(COUNTS[m] for m in ids) / len(ids)
    own = sum(COUNTS[m] for m in POSITIVES[user]) / len(POSITIVES[user])
    vector = {m: VECTORS.get(m, [0.0, 0.0]) for m in GENRES}
    return {
        "novelty": sum(-math.log2(max(COUNTS[m], 1) / 3) for m in ids) / len(ids),
        "popularity_lift": popularity / own - 1,
        "genre_diversity": sum(1 - cosine(genre_vector(a), genre_vector(b)) for a, b in couples)
        / len(couples),
        "vector_diversity": sum(1 - cosine(vector[a], vector[b]) for a, b in couples)
        / len(couples),
        "miscalibration": sum(a * math.log2(a / b) for a, b in zip(p, smooth) if a),
        "serendipity": float(TARGETS[user] in ids and TARGETS[user] not in POPULAR[user]),
        "disliked": float(bool(set(ids) & set(DISLIKED.get(user, [])))),
    }


def test_every_quality_is_that_of_a_plain_loop(context: ListContext) -> None:
    table = list_quality(recommendations(), context, 10)
    assert table["user_id"].to_list() == [7, 8, 9]
    for user in (7, 8):
        row = table.row(by_predicate=pl.col("user_id") == user, named=True)
        assert row.pop("user_id") == user
        assert row == pytest.approx(expected(user))
    assert expected(7)["serendipity"] == expected(7)["disliked"] == 1  # both outcomes occur
    assert expected(8)["serendipity"] == expected(8)["disliked"] == 0


def test_a_user_without_a_list_has_no_value(context: ListContext) -> None:
    row = list_quality(recommendations(), context, 10).row(2)
    assert all(math.isnan(value) for value in row[1:])


def test_only_the_top_k_counts(context: ListContext) -> None:
    table = list_quality(recommendations(), context, 1)
    assert table["disliked"][0] == 0  # movie 5 is the third
    assert math.isnan(table["genre_diversity"][0])  # one movie has no pair


def test_a_list_of_one_movie_of_a_user_with_one_positive(context: ListContext) -> None:
    row = list_quality(ranked_lists([(9, 1, 1)]), context, 10).row(2, named=True)
    assert row["novelty"] == pytest.approx(-math.log2(8 / 3))
    assert row["popularity_lift"] == 8 / 4 - 1


def test_the_lists_of_other_users_change_nothing(context: ListContext) -> None:
    others = ranked_lists([(6, 2, 1), (10, 2, 1)])
    table = list_quality(pl.concat([recommendations(), others]), context, 10)
    assert table.equals(list_quality(recommendations(), context, 10))


def test_equal_vectors_have_distance_zero_and_padding_counts_nothing() -> None:
    vectors = np.array([[[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]]])
    mask = np.array([[True, True, False]])
    assert mean_pairwise_distance(vectors, mask) == pytest.approx([0.0])
    assert mean_pairwise_distance(vectors, ~mask & False).tolist() != [0.0]


def test_a_list_with_the_genres_of_the_profile_is_calibrated() -> None:
    profile = np.array([[2.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    lists = np.array([[0.5, 0.25], [0.0, 1.0], [1.0, 0.0]])
    values = miscalibration(profile, lists)
    assert values[0] == pytest.approx(0)
    assert values[1] == pytest.approx(-math.log2(SMOOTHING))
    assert math.isnan(values[2])


@pytest.mark.parametrize(
    ("movies", "value"),
    [([1, 2, 3, 4], 0.0), ([1, 1, 1, 1], 0.75), ([1, 1, 2, 2], 0.5), ([3], 0.75)],
)
def test_gini_is_zero_for_equal_counts_and_near_one_for_one_movie(
    movies: list[int], value: float
) -> None:
    lists = ranked_lists([(user, movie, 1) for user, movie in enumerate(movies)])
    assert gini(lists, np.array([1, 2, 3, 4]), 10) == pytest.approx(value)


@pytest.mark.parametrize("seed", range(3))
def test_diversity_divergence_and_gini_equal_those_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(6, 5, 4))
    units = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    mask = np.arange(5) < rng.integers(2, 6, size=(6, 1))
    expected = [pdist(rows[m], "cosine").mean() for rows, m in zip(vectors, mask)]
    assert mean_pairwise_distance(units, mask) == pytest.approx(expected)

    profile, lists = rng.random((6, 4)), rng.random((6, 4))
    p, q = (x / x.sum(axis=1, keepdims=True) for x in (profile, lists))
    smooth = (1 - SMOOTHING) * q + SMOOTHING * p
    assert miscalibration(profile, lists) == pytest.approx(entropy(p, smooth, base=2, axis=1))

    rows = [(u, int(m), r + 1) for u in range(9) for r, m in enumerate(rng.permutation(20)[:5])]
    counts = np.bincount([movie for _, movie, _ in rows], minlength=20)
    # Half of the relative mean absolute difference; pdist leaves out pairs of a movie with itself.
    difference = 2 * pdist(counts[:, None], "cityblock").sum() / 20**2
    expected_gini = difference / (2 * counts.mean())
    assert gini(ranked_lists(rows), np.arange(20), 5) == pytest.approx(expected_gini)
