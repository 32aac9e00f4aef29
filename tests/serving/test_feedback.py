import numpy as np
import polars as pl
import pytest

from stages.common.tables import HISTORIES, SEEN
from stages.serving.feedback import Feedback, add_feedback, empty_history, join_feedback
from stages.serving.pipeline import NEW_USER, ServingPipeline

ALL = 10_000
HISTORY = pl.DataFrame([(7, 7, 3, [5, 2, 9], [100, 200, 300])], schema=HISTORIES, orient="row")
RATED = pl.DataFrame(
    [
        (7, 2, True, 2, 200),
        (7, 4, False, 1, 250),
        (7, 5, True, 3, 100),
        (7, 9, True, 0, 300),
    ],
    schema=SEEN,
    orient="row",
)


def add(feedback: Feedback, length: int = 10) -> tuple[dict, list[tuple]]:
    history, seen = add_feedback(HISTORY, RATED, feedback, 400, length)
    assert (history.schema, seen.schema) == (HISTORIES, SEEN)
    assert seen["movie_id"].is_sorted()
    return history.row(0, named=True), seen.select("movie_id", "positive").rows()


def test_without_feedback_nothing_changes() -> None:
    history, seen = add_feedback(HISTORY, RATED, Feedback(), 400, 10)
    assert history.equals(HISTORY)
    assert seen.equals(RATED)


def test_liked_movies_are_the_newest_positives() -> None:
    history, seen = add(Feedback(liked=[8, 3, 8, 5]))
    assert history["history"] == [5, 2, 9, 8, 3]
    assert history["timestamps"] == [100, 200, 300, 400, 400]
    assert history["history_length"] == 5
    assert seen == [(2, True), (3, True), (4, False), (5, True), (8, True), (9, True)]
    history, _ = add(Feedback(liked=[8, 3]), length=3)
    assert (history["history"], history["history_length"]) == ([9, 8, 3], 5)


def test_a_low_rating_is_no_positive_any_more() -> None:
    history, seen = add(Feedback(disliked=[2, 6]))
    assert (history["history"], history["timestamps"]) == ([5, 9], [100, 300])
    assert history["history_length"] == 2
    assert seen == [(2, False), (4, False), (5, True), (6, False), (9, True)]


def test_a_low_rating_that_is_liked_now_is_a_positive() -> None:
    history, seen = add(Feedback(liked=[4]))
    assert history["history"][-1] == 4
    assert (4, True) in seen


def test_a_movie_that_is_only_seen_is_no_rating() -> None:
    history, seen = add(Feedback(seen=[1, 2, 4]))
    assert history["history"] == [5, 2, 9]
    assert seen == [(1, None), (2, True), (4, False), (5, True), (9, True)]


def test_a_new_person_starts_without_a_history() -> None:
    nothing = pl.DataFrame([(-1, -1, 0, [], [])], schema=HISTORIES, orient="row")
    assert empty_history(-1).equals(nothing)
    assert empty_history(-1).schema == HISTORIES
    history, seen = add_feedback(
        empty_history(-1), RATED[:0], Feedback([3], [1], [2]), now=400, max_length=10
    )
    expected = pl.DataFrame([(-1, -1, 1, [3], [400])], schema=HISTORIES, orient="row")
    assert history.equals(expected)
    assert seen.rows() == [
        (-1, 1, False, 1, 400),
        (-1, 2, None, None, None),
        (-1, 3, True, 0, 400),
    ]


def test_what_is_said_now_is_newer_than_all_ratings_and_likes_are_the_newest() -> None:
    _, seen = add_feedback(HISTORY, RATED, Feedback([8, 2, 3], [6, 5], [1]), 400, 10)
    ages = dict(seen.select("movie_id", "age").iter_rows())
    times = dict(seen.select("movie_id", "timestamp").iter_rows())
    # Movie 2 is liked already and keeps its place; movie 5 is rated anew.
    assert ages == {3: 0, 8: 1, 5: 2, 6: 3, 9: 4, 4: 5, 2: 6, 1: None}
    assert times == {3: 400, 8: 400, 5: 400, 6: 400, 9: 300, 4: 250, 2: 200, 1: None}


def test_what_is_said_later_counts_and_any_opinion_more_than_having_seen() -> None:
    older = Feedback([1, 2, 3], [4, 5], [6, 7])
    newer = Feedback([4, 6], [1], [2, 8, 6])
    assert join_feedback(older, newer) == Feedback([3, 4, 6], [5, 1], [7, 2, 8])


def ease_list(
    recommender: ServingPipeline, profile: dict[int, float], exclude: set[int]
) -> list[int]:
    """The movies by their EASE score for a profile, best first."""
    model = recommender.models["ease"]
    ids, weights = model["movie_ids"], model["weights"]
    scores = sum(weight * weights[np.searchsorted(ids, m)] for m, weight in profile.items())
    best = ids[np.argsort(-scores, kind="stable")]
    return [int(movie) for movie in best if movie not in exclude]


def served_ease_list(served: pl.DataFrame) -> list[int]:
    ranks = served.explode("generators").filter(pl.col("generators").str.starts_with("ease "))
    rank = pl.col("generators").str.strip_prefix("ease ").cast(int)
    return ranks.sort(rank)["movie_id"].to_list()


def test_low_ratings_of_a_new_user_have_the_weight_of_those_of_users_of_the_data(
    recommender: ServingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommender, "candidate_limit", ALL)  # serve the whole list
    weight = float(recommender.models["ease"]["low_weight"])
    assert 0 < weight < 1
    served = recommender.for_person(NEW_USER, [3], ALL, disliked=[7, 9])
    recency = float(recommender.models["ease"]["recency"])
    profile = {3: 1.0, 9: weight * 2**-recency, 7: weight * 3**-recency}
    expected = ease_list(recommender, profile, {3, 7, 9})
    assert served_ease_list(served) == expected[: recommender.settings.candidates]
    assert expected != ease_list(recommender, {3: 1.0}, {3, 7, 9})
    assert set(served["explanation_id"].drop_nulls()) == {3}
    assert not {3, 7, 9} & set(served["movie_id"])


def test_movies_that_a_new_user_has_only_seen_change_no_score_and_are_not_recommended(
    recommender: ServingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommender, "candidate_limit", ALL)
    without = recommender.for_person(NEW_USER, [3], ALL)
    seen = without["movie_id"].head(2).to_list()
    served = recommender.for_person(NEW_USER, [3], ALL, seen=seen)
    expected = ease_list(recommender, {3: 1.0}, {3, *seen})
    assert served_ease_list(served) == expected[: recommender.settings.candidates]
    assert not {3, *seen} & set(served["movie_id"])


@pytest.mark.parametrize("feedback", [{}, {"disliked": [7]}, {"seen": [7]}])
def test_a_new_user_who_likes_nothing_gets_a_list_without_explanations(
    recommender: ServingPipeline, feedback: dict[str, list[int]]
) -> None:
    served = recommender.for_person(NEW_USER, [], 5, **feedback)
    assert served.height == 5
    assert 7 not in served["movie_id"] or not feedback
    for column in ("explanation_id", "explanation"):
        assert served[column].null_count() == 5
    assert served["score"].is_finite().all()
