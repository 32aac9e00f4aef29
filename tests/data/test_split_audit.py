import polars as pl
import pytest

from stages.common.tables import POSITIVES, RATINGS, SPLIT, TRAIN
from stages.data import split_audit
from stages.data.split_audit import DAY, audit, count_rated_before

TARGETS = ["source_user_id", "movie_id", "timestamp", "new_user", "gap"]


# Known positives by movie, for the order of the top movies.
COUNTS = {9: 1, 6: 3, 5: 3, 7: 2, 4: 1}


def table(rows: list[tuple], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=list(schema), orient="row").cast(dict(schema))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> dict[str, float]:
    """The audit of a split; users 3 to 5 have no test target, user 6 has no positive."""
    train = table([(1, 1, 0, 0, False), (2, 1, 0, 0, False), (3, 2, 5, 0, False)], TRAIN)
    val = table([(1, 2, DAY, 1), (2, 3, 0, 1)], SPLIT)
    test = [(1, 3, 3 * DAY, False, 2 * DAY), (2, 9, 4 * DAY, False, 4 * DAY)]
    test += [(7, 9, 4 * DAY, True, 0), (7, 8, 4 * DAY, True, 0)]
    targets = {
        "val": pl.DataFrame([(1, DAY), (2, 0)], schema=["source_user_id", "gap"], orient="row"),
        "test": pl.DataFrame(test, schema=TARGETS, orient="row"),
    }
    positives = table([(u, 1, 0, 0) for u in (1, 2, 3, 4, 5, 7)], POSITIVES)
    ratings = table([(u, 3, 5.0, 0, 0) for u in range(1, 8)], RATINGS)
    return audit(train, val, targets, positives, ratings, request.param)


@pytest.mark.parametrize("figures", ["global"], indirect=True)
def test_the_audit_counts_users_and_why_they_are_left_out(figures: dict) -> None:
    assert (figures["test_users"], figures["known_users"], figures["new_users"]) == (3, 2, 1)
    assert figures["left_out_without_positive"] == 1  # user 6
    assert figures["left_out_inactive"] == 1  # user 3, who has no positive after the cut
    assert figures["left_out_too_few_positives"] == 2  # users 4 and 5


@pytest.mark.parametrize("figures", ["leave_one_out"], indirect=True)
def test_the_audit_counts_movies_ties_gaps_and_drift(figures: dict) -> None:
    assert (figures["left_out_inactive"], figures["left_out_too_few_positives"]) == (0, 3)
    assert (figures["cold_targets"], figures["cold_movies"]) == (3, 2)  # movies 8 and 9
    assert figures["targets_rated_before"] == 1  # user 1 rated movie 3 at time 0
    assert (figures["tied_share"], figures["tied_share_val"]) == (0.5, 0.5)
    assert figures["gap_days_median"] == pytest.approx(1)  # of 2, 4, 0 and 0 days
    assert figures["gap_days_90"] == pytest.approx(3.4)
    assert (figures["top_share_before"], figures["top_share_targets"]) == (1, 0.25)


def test_the_top_movies_are_those_of_most_known_positives_then_of_the_lowest_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = [(user, movie, 0, 0, False) for movie, n in COUNTS.items() for user in range(1, n + 1)]
    test = [(1, movie, DAY, False, DAY) for movie in COUNTS]
    targets = {
        "val": pl.DataFrame({"gap": [1, 0, 0]}),
        "test": pl.DataFrame(test, schema=TARGETS, orient="row"),
    }
    positives = table([(user, 1, 0, 0) for user in range(1, 4)], POSITIVES)
    ratings = table([(1, 3, 5.0, 0, 0)], RATINGS)
    arguments = (table(known, TRAIN), table([], SPLIT), targets, positives, ratings, "global")
    shares = []
    for top in range(1, 6):
        monkeypatch.setattr(split_audit, "TOP_MOVIES", top)
        figures = audit(*arguments)
        shares.append((figures["top_share_before"] * 10, figures["top_share_targets"] * 5))
    expected = [(3, 1), (6, 2), (8, 3), (9, 4), (10, 5)]
    assert shares == [pytest.approx(pair) for pair in expected]
    targets["test"] = pl.DataFrame(
        [(1, movie, DAY, False, DAY) for movie in range(200, 220)], schema=TARGETS, orient="row"
    )
    equal = table([(1, movie, 0, 0, False) for movie in range(399, 199, -1)], TRAIN)
    monkeypatch.setattr(split_audit, "TOP_MOVIES", 20)
    assert audit(equal, *arguments[1:])["top_share_targets"] == 1
    assert figures["left_out_without_positive"] == 1 - 3
    assert figures["tied_share_val"] == pytest.approx(2 / 3)
    assert figures["tied_share"] == 0
    assert figures["left_out_inactive"] == 2


def test_a_rating_of_the_targets_own_time_is_not_before_it() -> None:
    ratings = table([(1, 5, 5.0, 10, 0), (1, 6, 2.0, 9, 1), (1, 6, 5.0, 10, 2)], RATINGS)
    targets = pl.DataFrame(
        {"source_user_id": [1, 1], "movie_id": [5, 6], "timestamp": [10, 10]}
    ).cast({"source_user_id": pl.Int32, "movie_id": pl.Int32})
    assert count_rated_before(targets, ratings) == 1


def test_a_target_with_several_older_ratings_counts_once() -> None:
    rows = [(1, 5, 2.0, 1, 0), (1, 5, 3.0, 2, 1), (2, 5, 3.0, 1, 2), (1, 7, 3.0, 1, 3)]
    targets = table(
        [(1, 5, 10), (1, 5, 11), (1, 6, 10), (3, 5, 10)],
        pl.Schema({"source_user_id": pl.Int32, "movie_id": pl.Int32, "timestamp": pl.Int64}),
    )
    assert count_rated_before(targets, table(rows, RATINGS)) == 2
