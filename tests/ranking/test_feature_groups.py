import numpy as np
import polars as pl
import pytest

from stages.ranking.feature_groups import GROUPS, FeatureContext
from stages.ranking.features import build_features
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
    # The positive of movie 1 is of day 10, user 2's newest positive of day 39.
    assert row["days_since_positive"] == pytest.approx(29)
    assert row["log_positives_30_days"] == pytest.approx(np.log(2))
    assert row["log_positives_7_days"] == 0
    # User 2's vector scores the three movies 0, 4 and 2.
    assert row["retriever_log_softmax"] == pytest.approx(-np.log(1 + np.exp(4) + np.exp(2)))


def test_recency_counts_nothing_after_the_users_newest_positive(
    context: FeatureContext, histories: pl.DataFrame
) -> None:
    table = build_features(user_movie_pairs([(2, 2)]), histories, context, ["recency"])
    # Movie 2 is a positive of user 1 a day later, which is not counted for user 2.
    for days in (7, 30, 365):
        assert table[f"log_positives_{days}_days"].to_list() == pytest.approx([np.log(2)])
    assert table["days_since_positive"].to_list() == [0]
    assert table["positives_before_share"].to_list() == [0.5]
