import numpy as np
import polars as pl
import pytest

from stages.common.tables import HISTORIES, KNOWN_POSITIVES
from stages.ranking import features
from stages.ranking.feature_groups import GROUPS, Batch, Columns, FeatureContext
from stages.ranking.features import (
    GENERATOR_GROUPS,
    build_context,
    build_features,
    generator_features,
)
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


def test_histories_may_be_in_any_order_and_must_have_every_user(
    context: FeatureContext, histories: pl.DataFrame
) -> None:
    candidates = merged_candidates([(1, 3), (2, 1), (2, 3)])
    table = build_features(candidates, histories, context, list(GROUPS))
    assert build_features(candidates, histories[::-1], context, list(GROUPS)).equals(table)
    for lacking in (histories[:1], histories[1:]):
        with pytest.raises(ValueError, match=r"^histories: lack a user of the candidates$"):
            build_features(candidates, lacking, context, list(GROUPS))


def test_generator_features_have_gaps_to_the_users_best_score() -> None:
    table = generator_features(merged_candidates([(1, 1), (1, 2)]), ["score_gap", "rank"])
    assert table.columns == ["user_id", "movie_id", "rank_x", "score_gap_x"]
    assert table["score_gap_x"].to_list() == [1, 0]


def test_the_columns_of_generators_are_grouped_and_float32() -> None:
    scores = {"score_x": [1.0, 4.0, 2.0], "score_y": [None, 3.0, 7.0]}
    ranks = {"rank_x": [2, 1, 1], "rank_y": [None, 1, 1]}
    merged = user_movie_pairs([(1, 5), (1, 6), (2, 5)]).with_columns(
        **{name: pl.Series(values) for name, values in (scores | ranks).items()}
    )
    table = generator_features(merged, ["score_gap", "rank", "genre", "score"])
    expected = {**scores, **ranks, "score_gap_x": [3, 0, 0], "score_gap_y": [None, 0, 0]}
    assert table.columns == ["user_id", "movie_id", *expected]
    assert set(table.dtypes[2:]) == {pl.Float32}
    # A movie that a generator lacks has NaN, not null.
    values = pl.DataFrame(expected, schema=dict.fromkeys(expected, pl.Float32))
    assert table[:, 2:].equals(values.fill_null(float("nan")), null_equal=False)
    assert generator_features(merged, ["genre"]).columns == ["user_id", "movie_id"]


def test_a_context_indexes_the_movies_of_the_catalogue() -> None:
    positives = [(1, 9, 7, 0), (2, 3, 8, 0), (1, 3, 6, 0)]
    weights = np.array([[0, 1], [2, 0]], np.float32)
    context = build_context(
        catalogue=pl.DataFrame({"movie_id": [3, 5, 9], "year": [1990, None, 2000]}),
        genres=pl.DataFrame({"movie_id": [3, 5, 9], "genre_A": [1, 0, 1]}),
        popularity=pl.DataFrame({"positives": [2, 0, 1], "popularity_rank": [1, 3, 2]}),
        positives=pl.DataFrame(positives, schema=KNOWN_POSITIVES, orient="row"),
        movie_vectors=pl.DataFrame(
            {"movie_id": [9, 3], "embedding": np.array([[0, 0.5], [3, 4]], np.float32)}
        ),
        user_vectors=pl.DataFrame({"user_id": [4], "embedding": np.ones((1, 2), np.float32)}),
        item_item={"knn": {"movie_ids": np.array([5, 9]), "weights": weights}},
    )
    floats = {
        "years": [1990, np.nan, 2000],
        "genres": [[1], [0], [1]],
        "positive_counts": [2, 0, 1],
        "popularity_rank": [1, 3, 2],
        "unit_vectors": [[0.6, 0.8], [0, 0], [0, 1]],
        "vectors": [[3, 4], [0, 0], [0, 0.5]],
    }
    for name, values in floats.items():
        array = getattr(context, name)
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, values, rtol=1e-6, err_msg=name)
    assert context.movie_ids.tolist() == [3, 5, 9]
    assert context.positive_times.tolist() == [6, 8, 2**33 + 7]
    assert context.first_positive.tolist() == [0, 2, 2]
    assert context.has_no_vector.tolist() == [False, True, False]
    assert [array.tolist() for array in context.user_vectors] == [[4], [[1, 1]]]
    ((name, (index, model)),) = context.item_item.items()
    assert (name, index.tolist(), model.tolist()) == ("knn", [-1, 0, 1], weights.tolist())


def test_a_batch_has_padded_candidates_and_histories_newest_first(
    context: FeatureContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []

    def probe(_: FeatureContext, batch: Batch) -> Columns:
        batches.append(batch)
        return {"probe": batch.movies * 10.0 + batch.users[:, None]}

    monkeypatch.setitem(GROUPS, "probe", probe)
    monkeypatch.setattr(features, "FEATURE_BATCH_USERS", 2)
    rows = [(7, 7, 0, [], []), (5, 5, 4, [1, 3], [50, 60]), (6, 6, 1, [2], [70]), (8, 8, 0, [], [])]
    histories = pl.DataFrame(rows, schema=HISTORIES, orient="row")
    candidates = user_movie_pairs([(5, 2), (6, 1), (6, 3), (7, 3)])
    table = build_features(candidates, histories, context, ["score", "probe"])
    assert table.columns == ["user_id", "movie_id", "probe"]
    assert table["probe"].dtype == pl.Float32
    assert table["probe"].to_list() == [15, 6, 26, 27]
    assert {batch.history_mask.dtype for batch in batches} == {np.dtype(np.float32)}
    first, second = (  # threads may compute the batches in any order
        {name: array.tolist() for name, array in batch._asdict().items()}
        for batch in sorted(batches, key=lambda batch: batch.users[0])
    )
    # Users with equally long histories share a batch.
    assert first == {
        "movies": [[1]],
        "is_candidate": [[True]],
        "history": [[2, 0]],
        "history_mask": [[1, 1]],
        "times": [[60, 50]],
        "history_length": [4],
        "users": [5],
    }
    assert second == {
        "movies": [[2, 0], [0, 2]],
        "is_candidate": [[True, False], [True, True]],
        "history": [[0], [1]],
        "history_mask": [[0], [1]],
        "times": [[0], [70]],
        "history_length": [0, 1],
        "users": [7, 6],
    }
    for rows in (candidates, candidates[:0]):
        assert build_features(rows, histories, context, ["score"]).equals(rows)
