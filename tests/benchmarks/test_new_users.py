"""What new people tell: their newest positives, and the low ratings since."""

import numpy as np
import polars as pl

from benchmarks.new_users import cut_histories, cut_seen
from stages.common.tables import HISTORIES, SEEN
from stages.serving.pipeline import NEW_USER

HISTORY = pl.DataFrame(
    {
        "user_id": [3, 8],
        "source_user_id": [3, 8],
        "history_length": [5, 2],
        "history": [[10, 20, 30, 40], [20, 50]],  # the fifth is older than the longest history
        "timestamps": [[1, 2, 4, 6], [7, 9]],
    },
    schema=HISTORIES,
)
# Movies 60 and 70 are rated low: 60 before the last two positives of user 3, 70 after.
RATINGS = {
    3: {10: 1, 20: 2, 30: 4, 40: 6, 60: 3, 70: 5},
    8: {20: 7, 50: 9, 70: 7},
}
TIMES = pl.DataFrame(
    [(user, movie, time) for user, row in RATINGS.items() for movie, time in row.items()],
    schema={"user_id": pl.Int32, "movie_id": pl.Int32, "timestamp": pl.Int64},
    orient="row",
)
AGE = pl.col("timestamp").rank("ordinal", descending=True).over("user_id") - 1
POSITIVE = ~pl.col("movie_id").is_in([60, 70])
ALL_SEEN = TIMES.with_columns(positive=POSITIVE, age=AGE).select(SEEN.names()).cast(dict(SEEN))


def test_a_new_person_has_the_newest_positives_and_no_vector() -> None:
    cut = cut_histories(HISTORY, 2)
    assert cut.schema == HISTORIES
    assert cut["history"].to_list() == [[30, 40], [20, 50]]
    assert cut["timestamps"].to_list() == [[4, 6], [7, 9]]
    assert cut["history_length"].to_list() == [2, 2]
    assert cut["user_id"].to_list() == [3, 8]
    assert cut["source_user_id"].to_list() == [NEW_USER, NEW_USER]


def test_a_new_person_with_all_positives_differs_in_the_vector_only() -> None:
    cut = cut_histories(HISTORY, None)
    assert cut.drop("source_user_id").equals(HISTORY.drop("source_user_id"))
    assert cut["source_user_id"].to_list() == [NEW_USER, NEW_USER]


def test_untold_ratings_are_seen_and_nothing_else() -> None:
    seen = cut_seen(ALL_SEEN, cut_histories(HISTORY, 2), True)
    assert seen.schema == SEEN
    assert seen.select("user_id", "movie_id").equals(ALL_SEEN.select("user_id", "movie_id"))
    told = {
        user: dict(rows.select("movie_id", "positive").iter_rows())
        for (user,), rows in seen.group_by("user_id")
    }
    assert told[3] == {10: None, 20: None, 30: True, 40: True, 60: None, 70: False}
    assert told[8] == {20: True, 50: True, 70: False}  # of the second of the first positive
    without_low = cut_seen(ALL_SEEN, cut_histories(HISTORY, 2), False)
    assert without_low["positive"].equals(seen["positive"].replace(False, None))
    ages = {(user, movie): age for user, movie, _, age, _ in seen.iter_rows()}
    # Only what is told has an age: movie 70 is between the two positives of user 3.
    assert [ages[3, movie] for movie in (40, 70, 30, 20)] == [0, 1, 2, None]
    assert seen["timestamp"].is_null().equals(seen["age"].is_null())


def test_random_positives_are_of_any_time_and_in_order() -> None:
    cuts = [cut_histories(HISTORY, 2, np.random.default_rng(seed)) for seed in range(30)]
    assert all(
        cut.drop("history", "timestamps").equals(cuts[0].drop("history", "timestamps"))
        for cut in cuts
    )
    pairs = {tuple(cut["history"][0]) for cut in cuts}
    assert pairs == {(a, b) for a in (10, 20, 30, 40) for b in (20, 30, 40) if a < b}
    for cut in cuts:
        assert cut.schema == HISTORIES
        assert cut["timestamps"][0].to_list() == [RATINGS[3][movie] for movie in cut["history"][0]]
        assert cut["history"][1].to_list() == [20, 50]
