import polars as pl
import pytest

from stages.ranking import features
from stages.ranking.feature_groups import GROUPS, FeatureContext
from stages.ranking.features import GENERATOR_GROUPS, build_features, generator_features
from tests.small_tables import user_movie_pairs


def merged_candidates(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    """Candidates of one generator `x` with the scores 0, 1, ..., all of rank 1."""
    scores = pl.Series(range(len(pairs)), dtype=pl.Float32)
    return user_movie_pairs(pairs).with_columns(score_x=scores, rank_x=pl.lit(1))


def test_features_of_a_user_do_not_depend_on_other_users(
    context: FeatureContext, histories: pl.DataFrame
) -> None:
    groups = [*GROUPS, *GENERATOR_GROUPS]
    candidates = generator_features(merged_candidates([(1, 3), (2, 1), (2, 3)]), groups)
    together = build_features(candidates, histories, context, groups)
    alone = build_features(candidates[1:], histories, context, groups)
    assert together.filter(pl.col("user_id") == 2).equals(alone)


def test_features_do_not_depend_on_the_size_of_the_batches(
    context: FeatureContext, histories: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = merged_candidates([(1, 3), (2, 1), (2, 3)])
    table = build_features(candidates, histories, context, list(GROUPS))
    monkeypatch.setattr(features, "FEATURE_BATCH_USERS", 1)
    assert build_features(candidates, histories, context, list(GROUPS)).equals(table)
    assert table.columns[:4] == candidates.columns
    assert table.select("user_id", "movie_id").equals(candidates.select("user_id", "movie_id"))


def test_generator_features_have_gaps_to_the_users_best_score() -> None:
    table = generator_features(merged_candidates([(1, 1), (1, 2)]), ["score_gap", "rank"])
    assert table.columns == ["user_id", "movie_id", "rank_x", "score_gap_x"]
    assert table["score_gap_x"].to_list() == [1, 0]
