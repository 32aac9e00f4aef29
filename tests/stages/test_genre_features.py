import numpy as np
import polars as pl

from stages.common.tables import CATALOGUE
from stages.evaluation.slices import slice_metrics
from stages.genre_features import genre_columns
from tests.small_tables import target_rank_table


def test_each_genre_is_a_column() -> None:
    rows = [(1, "a", None, ["War", "Drama"]), (2, "b", None, []), (3, "c", None, ["Drama"])]
    table = genre_columns(pl.DataFrame(rows, schema=CATALOGUE, orient="row"))
    assert table.columns == ["movie_id", "genre_Drama", "genre_War"]
    assert table.rows() == [(1, 1, 1), (2, 0, 0), (3, 1, 0)]


def test_without_any_genre_the_genre_table_has_a_row_of_zeros_for_each_movie() -> None:
    rows = [(1, "a", None, []), (2, "b", None, [])]
    table = genre_columns(pl.DataFrame(rows, schema=CATALOGUE, orient="row"))
    assert table.columns == ["movie_id", "genre_none"]
    assert table.drop("movie_id").to_numpy().tolist() == [[0], [0]]
    slices = slice_metrics(target_rank_table([2]), table, [10])
    assert "genre" not in slices["slice"].to_list()
    assert np.isclose(slices.filter(pl.col("slice") == "target")["recall@10"].item(), 1)
