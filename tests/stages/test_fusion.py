import numpy as np
import polars as pl
import pytest

from stages.fusion import cut, fuse, max_per_user, merge
from tests.small_tables import scored_lists


def test_fusion_adds_reciprocal_ranks() -> None:
    lists = {
        "a": scored_lists([(1, 5, 2.0), (1, 6, 1.0)]),
        "b": scored_lists([(1, 6, 0.2), (1, 7, 0.1)]),
    }
    merged = merge(lists)
    assert merged["movie_id"].to_list() == [5, 6, 7]
    assert merged["rank_b"].to_list() == [None, 1, 2]
    fused = fuse(merged, ["a", "b"], k=60)
    assert fused["movie_id"].to_list() == [6, 5, 7]
    # 1/62 + 1/61, 1/61, 1/62.
    assert fused["score"].to_list() == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])


def test_the_first_movies_of_the_fused_list_are_kept() -> None:
    rows = [(user, movie, 1.0) for user in (1, 2) for movie in (5, 6, 7)]
    merged = merge({"a": scored_lists(rows), "b": scored_lists([(1, 7, 1.0)])})
    fused = fuse(merged, ["a", "b"], k=60)
    merged_head, fused_head = cut(merged, fused, limit=2)
    # Movie 7 is third in one list, but it is in both lists.
    assert merged_head.select("user_id", "movie_id").rows() == [(1, 5), (1, 7), (2, 5), (2, 6)]
    assert fused_head["movie_id"].to_list() == [7, 5, 5, 6]
    assert merged_head.columns == merged.columns
    assert cut(merged, fused, limit=3)[0].equals(merged)
    assert max_per_user(1000, users=10, count=30) == 100
    assert max_per_user(1000, users=100, count=30) == 30


def test_merged_candidates_are_the_union_of_the_lists() -> None:
    rng = np.random.default_rng(6)
    lists = {}
    for name in ("a", "b", "c"):
        rows = []
        for user in range(1, 8):
            movies = rng.choice(30, rng.integers(0, 10), replace=False)
            rows += [(user, int(movie), -float(n)) for n, movie in enumerate(movies)]
        lists[name] = scored_lists(rows)
    merged = merge(lists)
    pairs = pl.concat([table.select("user_id", "movie_id") for table in lists.values()])
    assert merged.select("user_id", "movie_id").equals(pairs.unique().sort("user_id", "movie_id"))
    for name, table in lists.items():
        columns = {f"score_{name}": "score", f"rank_{name}": "rank"}
        rows = merged.filter(pl.col(f"rank_{name}").is_not_null()).rename(columns)
        assert rows.select(table.columns).equals(table.sort("user_id", "movie_id"))
