import numpy as np
import polars as pl
import pytest

from stages.common.tables import HISTORIES, KNOWN_POSITIVES
from stages.ranking.feature_groups import GROUPS, FeatureContext
from stages.ranking.features import build_context, build_features
from tests.ranking.conftest import DAY
from tests.small_tables import user_movie_pairs


@pytest.fixture
def rows(context: FeatureContext, histories: pl.DataFrame) -> dict[tuple[int, int], dict]:
    """All features by user and movie."""
    candidates = user_movie_pairs([(1, 3), (2, 1), (2, 3)])
    table = build_features(candidates, histories, context, list(GROUPS))
    return {(row["user_id"], row["movie_id"]): row for row in table.to_dicts()}


def test_features_of_an_unseen_movie_by_hand(rows: dict[tuple[int, int], dict]) -> None:
    row = rows[1, 3]
    half = 1 / np.sqrt(2)
    assert row["similarity_last_1"] == pytest.approx(half)
    assert row["similarity_mean"] == pytest.approx(half)
    assert row["similarity_max"] == pytest.approx(half)
    assert row["retriever_log_softmax"] == pytest.approx(1 - np.log(np.exp(3) + 1 + np.exp(1)))
    assert (row["ease_last_1"], row["ease_last_5"], row["ease_max"]) == (4, 3, 4)
    assert row["ease_decayed"] == pytest.approx(4 + 0.8 * 2)
    # Genres of the history: A once, B once; the candidate has both.
    assert row["genre_count"] == 2
    assert row["genre_match_history"] == pytest.approx(1)
    assert row["genre_entropy"] == pytest.approx(np.log(2))
    assert (row["year"], row["popularity_rank"], row["log_positives"]) == (2000, 3, 0)
    assert row["year_gap_history"] == 10
    assert (row["history_length"], row["history_days"], row["days_between_last_2"]) == (2, 30, 30)
    assert np.isnan(row["days_since_positive"])


def test_features_of_a_user_with_one_positive_by_hand(rows: dict[tuple[int, int], dict]) -> None:
    row = rows[2, 1]
    assert (row["ease_last_1"], row["ease_max"]) == (3, 3)
    assert row["popularity_gap"] == pytest.approx(np.log(2) - np.log(3))
    assert row["positives_before_share"] == 1
    # The positive of movie 1 is of day 10, user 2's newest positive of day 39.
    assert row["days_since_positive"] == pytest.approx(29)
    assert row["log_positives_30_days"] == pytest.approx(np.log(2))
    assert row["log_positives_7_days"] == 0
    # User 2's vector scores the three movies 0, 4 and 2.
    assert row["retriever_log_softmax"] == pytest.approx(-np.log(1 + np.exp(4) + np.exp(2)))


def test_the_softmax_is_over_the_movies_with_a_vector(
    context: FeatureContext, histories: pl.DataFrame
) -> None:
    # Movie 2 has no vector; user 2's scores are too large for an exponential.
    user_vectors = np.array([1, 2]), np.array([[1, 0], [0, 2000]], np.float32)
    context = context._replace(
        user_vectors=user_vectors, has_no_vector=np.array([False, True, False])
    )
    candidates = user_movie_pairs([(1, 1), (1, 3), (2, 1), (2, 3)])
    table = build_features(candidates, histories, context, ["retriever_log_softmax"])
    log_sum = np.log(np.exp(3) + np.exp(1))
    expected = [3 - log_sum, 1 - log_sum, -2000, 0]
    assert table["retriever_log_softmax"].to_list() == pytest.approx(expected)


def test_recency_counts_nothing_after_the_users_newest_positive(
    context: FeatureContext, histories: pl.DataFrame
) -> None:
    table = build_features(user_movie_pairs([(2, 2)]), histories, context, ["recency"])
    # Movie 2 is a positive of user 1 a day later, which is not counted for user 2.
    for days in (7, 30, 365):
        assert table[f"log_positives_{days}_days"].to_list() == pytest.approx([np.log(2)])
    assert table["days_since_positive"].to_list() == [0]
    assert table["positives_before_share"].to_list() == [0.5]


MOVIES, LIKED, NOW = 20, 12, 20_000 * DAY
# Days before `NOW` of user 1's positives, newest first, and of others' positives of movie 20.
HISTORY_AGES = [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2047]
CANDIDATE_AGES = [-1, 2, 2, 7 - 1 / DAY, 7, 20, 30, 200, 365, 400]


@pytest.fixture
def long_history() -> dict:
    """The features of the candidates 13 to 20 of user 1, and what a plain loop needs.

    User 1 likes the movies 1 to 12, the newest first. Movie 4 has no year. User 2, who is in the
    same batch, likes the movies 3 and 9.
    """
    rng = np.random.default_rng(8)
    movies = list(range(1, MOVIES + 1))
    years = [int(year) for year in rng.integers(1950, 2020, MOVIES)]
    genres = rng.integers(0, 2, (MOVIES, 3))
    genres[[4, 5]] = [[1, 0, 1], [0, 1, 0]]  # the last of the newest five, and the next
    vectors = rng.normal(size=(MOVIES, 4)).astype(np.float32)
    weights = rng.random((MOVIES, MOVIES)).astype(np.float32)
    positives = [(1, movie, NOW - age * DAY, 0) for movie, age in zip(movies, HISTORY_AGES)]
    positives += [
        (user, MOVIES, NOW - round(age * DAY), 0)
        for user, age in enumerate(CANDIDATE_AGES, start=2)
    ]
    counts = [1] * LIKED + [0] * (MOVIES - LIKED - 1) + [len(CANDIDATE_AGES)]
    context = build_context(
        catalogue=pl.DataFrame({"movie_id": movies, "year": [*years[:3], None, *years[4:]]}),
        genres=pl.DataFrame({"movie_id": movies, **dict(zip("ABC", genres.T))}),
        popularity=pl.DataFrame({"positives": counts, "popularity_rank": movies}),
        positives=pl.DataFrame(positives, schema=KNOWN_POSITIVES, orient="row"),
        movie_vectors=pl.DataFrame({"movie_id": movies, "embedding": vectors}),
        user_vectors=pl.DataFrame({"user_id": [1, 2], "embedding": vectors[:2]}),
        item_item={
            "knn": {"movie_ids": np.array(movies), "weights": weights},
            "same_movies": {"movie_ids": np.array(movies), "weights": weights.T.copy()},
            "part": {"movie_ids": np.array([2, 4, 14]), "weights": weights[:3, :3]},
            "other_part": {"movie_ids": np.array([2, 4, 16]), "weights": weights[:3, :3]},
        },
    )
    times = [NOW - age * DAY for age in HISTORY_AGES]
    history = (1, 1, LIKED + 30, movies[:LIKED][::-1], times[::-1])  # the list is cut
    other = (2, 2, 2, [3, 9], times[5:3:-1])
    histories = pl.DataFrame([history, other], schema=HISTORIES, orient="row")
    candidates = user_movie_pairs([*((1, movie) for movie in movies[LIKED:]), (2, 1), (2, 18)])
    table = build_features(candidates, histories, context, list(GROUPS))
    rows = {row["movie_id"] - 1: row for row in table.filter(user_id=1).to_dicts()}
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return {"rows": rows, "years": years, "genres": genres, "units": units, "weights": weights}


def test_the_newest_movies_of_a_long_history_are_those_of_a_plain_loop(long_history: dict) -> None:
    units, weights, genres = (long_history[name] for name in ("units", "weights", "genres"))
    for movie, row in long_history["rows"].items():
        cosines = [float(units[liked] @ units[movie]) for liked in range(LIKED)]
        for count in (1, 3, 5, 10):
            expected = np.mean(cosines[:count])
            assert row[f"similarity_last_{count}"] == pytest.approx(expected, abs=1e-6)
        assert row["similarity_mean"] == pytest.approx(np.mean(cosines), abs=1e-6)
        assert row["similarity_max"] == pytest.approx(max(cosines), abs=1e-6)

        from_liked = [float(weights[liked, movie]) for liked in range(LIKED)]
        assert row["knn_last_1"] == pytest.approx(from_liked[0])
        assert row["knn_last_5"] == pytest.approx(np.mean(from_liked[:5]))
        assert row["knn_max"] == pytest.approx(max(from_liked))
        decayed = sum(0.8**n * weight for n, weight in enumerate(from_liked))
        assert row["knn_decayed"] == pytest.approx(decayed)
        assert row["same_movies_last_1"] == pytest.approx(float(weights[movie, 0]))
        # Both have the movies 2 and 4 of the history, and one candidate: 14 or 16.
        for model, candidate in (("part", 14), ("other_part", 16)):
            has_candidate = movie == candidate - 1
            from_2, from_4 = (float(weights[n, 2]) if has_candidate else 0.0 for n in (0, 1))
            assert row[f"{model}_last_1"] == 0
            assert row[f"{model}_last_5"] == pytest.approx((from_2 + from_4) / 5)
            assert row[f"{model}_max"] == pytest.approx(max(from_2, from_4))
            assert row[f"{model}_decayed"] == pytest.approx(0.8 * from_2 + 0.8**3 * from_4)

        assert row["genre_count"] == genres[movie].sum()
        for name, count in (("last_5", 5), ("history", LIKED)):
            profile = genres[:count].sum(axis=0)
            norms = max(np.linalg.norm(profile) * np.linalg.norm(genres[movie]), 1e-9)
            expected = profile @ genres[movie] / norms
            assert row[f"genre_match_{name}"] == pytest.approx(expected, abs=1e-6)
        share = genres[:LIKED].sum(axis=0) / genres[:LIKED].sum()
        assert row["genre_entropy"] == pytest.approx(-sum(p * np.log(p) for p in share if p))


def test_years_are_compared_with_those_of_the_history(long_history: dict) -> None:
    years = long_history["years"]
    newest, liked = [*years[:3], years[4]], [*years[:3], *years[4:LIKED]]  # movie 4 has none
    for movie, row in long_history["rows"].items():
        age = 1970 + 20_000 / 365.2425 - years[movie]
        assert row["movie_age"] == pytest.approx(age, abs=1e-3)
        for name, others in (("last_5", newest), ("history", liked)):
            gap = years[movie] - np.mean(others)
            assert row[f"year_gap_{name}"] == pytest.approx(gap, abs=1e-3)
            assert row[f"year_distance_{name}"] == pytest.approx(abs(gap), abs=1e-3)


def test_activity_is_the_time_between_the_users_positives(long_history: dict) -> None:
    for row in long_history["rows"].values():
        assert row["history_length"] == LIKED + 30
        assert row["history_days"] == 2047
        assert row["days_per_positive"] == pytest.approx(2047 / LIKED)
        assert row["days_between_last_2"] == 1
        assert row["days_between_last_5"] == 15  # of the fifth newest


def test_the_windows_of_recency_end_at_the_newest_positive(long_history: dict) -> None:
    row = long_history["rows"][MOVIES - 1]
    # A window does not hold the second with which it begins: ages of 7, 30 and 365 days.
    for days, count in ((7, 3), (30, 5), (365, 7)):
        assert row[f"log_positives_{days}_days"] == pytest.approx(np.log1p(count))
    assert row["days_since_positive"] == 2
    assert row["positives_before_share"] == pytest.approx(9 / 10)  # the tenth is a day later
    assert row["log_positives"] == pytest.approx(np.log(11))
    assert row["popularity_gap"] == pytest.approx(np.log(11) - np.log(2))
