"""What a reviewer asks about a split: who and what is not evaluated, ties, gaps and drift."""

import polars as pl

from stages.common.tables import DAY
from stages.data.snapshots import RANKER_SNAPSHOTS, TEST_SNAPSHOT

TOP_MOVIES = 100


def audit(
    train: pl.DataFrame,
    val: pl.DataFrame,
    targets: dict[str, pl.DataFrame],
    positives: pl.DataFrame,
    ratings: pl.DataFrame,
    method: str,
) -> dict[str, float]:
    """Describe the test targets against what the test snapshot knows.

    Args:
        train: TRAIN.
        val: SPLIT, the other rows that the models of the test snapshot know.
        targets: By snapshot user_id, source_user_id, movie_id, timestamp, new_user and `gap`, the
            seconds since the positive before.
        positives: POSITIVES.
        ratings: RATINGS.
        method: Of the split.

    Returns:
        test_users, known_users, new_users: users with a test target; known users have a positive
            that the models know, new ones have none.
        left_out_without_positive, left_out_too_few_positives, left_out_inactive: users without a
            test target, by reason: no positive at all, or not in the sample of users; too few
            positives for a history and a target; none after the test cut.
        cold_targets, cold_movies: test targets whose movie has no positive that the models know,
            and the number of these movies; no system can recommend them.
        targets_rated_before: test targets whose movie the user has rated before. Where that was
            before the newest positive too, `candidates.exclude: rated` makes them misses for all.
        tied_share, tied_share_val: share of the targets with the time of the positive before.
        gap_days_median, gap_days_90: days from the end of the history to the test target.
        top_share_before, top_share_targets: share of the known positives, and of the test targets,
            that go to the `TOP_MOVIES` movies with the most known positives: a falling share is a
            drift of popularity.
    """
    test, users = targets[TEST_SNAPSHOT], positives["user_id"].n_unique()
    test_users = test.group_by("source_user_id").agg(pl.col("new_user").first())
    before = pl.concat([train.select("user_id", "movie_id"), val.select("user_id", "movie_id")])
    without_target = users - test_users.height
    inactive = 0
    if method == "global":
        inactive = before["user_id"].n_unique() - test_users.filter(~pl.col("new_user")).height
    counts = before.group_by("movie_id").len().sort("len", "movie_id", descending=[True, False])
    top = counts.head(TOP_MOVIES)["movie_id"].implode()
    cold = test.join(counts, on="movie_id", how="anti")
    days = test["gap"] / DAY
    last_ranker_targets = targets[RANKER_SNAPSHOTS[-1]]
    return {
        "test_users": test_users.height,
        "known_users": test_users.filter(~pl.col("new_user")).height,
        "new_users": test_users.filter("new_user").height,
        "left_out_without_positive": ratings["user_id"].n_unique() - users,
        "left_out_too_few_positives": without_target - inactive,
        "left_out_inactive": inactive,
        "cold_targets": cold.height,
        "cold_movies": cold["movie_id"].n_unique(),
        "targets_rated_before": count_rated_before(test, ratings),
        "tied_share": (test["gap"] == 0).mean(),
        "tied_share_val": (last_ranker_targets["gap"] == 0).mean(),
        "gap_days_median": days.median(),
        "gap_days_90": days.quantile(0.9, "linear"),
        "top_share_before": before["movie_id"].is_in(top).mean(),
        "top_share_targets": test["movie_id"].is_in(top).mean(),
    }


def count_rated_before(targets: pl.DataFrame, ratings: pl.DataFrame) -> int:
    """Count the targets whose movie has an older rating of the same user.

    Args:
        targets: source_user_id, movie_id, timestamp.
        ratings: RATINGS.
    """
    pair = ["user_id", "movie_id"]
    rows = targets.select(user_id="source_user_id", movie_id="movie_id", until="timestamp")
    older = ratings.join(rows, on=pair).filter(pl.col("timestamp") < pl.col("until"))
    return older.unique([*pair, "until"]).height
