import polars as pl

from stages.movie_popularity import count_positives
from tests.small_tables import user_movie_pairs


def test_popularity_ranks_by_positives_and_shares_the_worse_rank() -> None:
    catalogue = pl.DataFrame({"movie_id": [1, 2, 3, 4]}, schema={"movie_id": pl.Int32})
    positives = user_movie_pairs([(1, 1), (2, 1), (1, 2), (2, 3)])
    counts = count_positives(catalogue, positives)
    assert counts["movie_id"].to_list() == [1, 2, 3, 4]
    assert counts["positives"].to_list() == [2, 1, 1, 0]
    assert counts["popularity_rank"].to_list() == [1, 3, 3, 4]
