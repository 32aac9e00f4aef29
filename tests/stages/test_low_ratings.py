import polars as pl

from stages.common.tables import RATINGS, SPLIT
from stages.low_ratings import known_low_ratings


def test_low_ratings_are_known_before_the_newest_positive_and_are_no_targets() -> None:
    # By user: movie, rating and time.
    ratings_by_user = {
        1: [(5, 3.0, 10), (6, 2.0, 20), (7, 1.0, 30), (5, 2.5, 12)],
        2: [(8, 1.0, 5)],
    }
    rows = [
        (user, *rating, row)
        for user, ratings in ratings_by_user.items()
        for row, rating in enumerate(ratings)
    ]
    rows += [(1, 7, 5.0, 40, 9)]  # a movie that becomes a positive later had a low rating before
    ratings = pl.DataFrame(rows, schema=RATINGS, orient="row")
    positives = pl.DataFrame([(1, 1, 20, 0), (1, 2, 31, 1)], schema=SPLIT, orient="row")
    table = known_low_ratings(ratings, positives, 4.0)
    assert table.rows() == [(1, 5, 2.5), (1, 6, 2.0), (1, 7, 1.0)]
    assert known_low_ratings(ratings, positives[:1], 4.0).rows() == [(1, 5, 2.5)]
