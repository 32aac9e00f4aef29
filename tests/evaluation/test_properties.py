"""Properties of metrics that hold for any input, tried on drawn inputs."""

import math

import polars as pl
import pytest

from stages.evaluation.metrics import user_metrics
from tests.properties import hypothesis
from tests.properties import strategies as st


@hypothesis.given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 12))
def test_metrics_equal_a_plain_loop(ranks: list[int], k: int) -> None:
    # Two targets cannot have the same rank.
    hypothesis.assume(len({r for r in ranks if r}) == len([r for r in ranks if r]))
    table = pl.DataFrame({"user_id": [1] * len(ranks), "rank": ranks})
    (row,) = user_metrics(table, [k]).rows(named=True)
    hits = [rank for rank in ranks if 1 <= rank <= k]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(ranks), k) + 1))
    assert row[f"recall@{k}"] == pytest.approx(len(hits) / len(ranks))
    assert row[f"precision@{k}"] == pytest.approx(len(hits) / k)
    assert row[f"hit_rate@{k}"] == float(bool(hits))
    assert row[f"ndcg@{k}"] == pytest.approx(sum(1 / math.log2(r + 1) for r in hits) / ideal)
    assert row["mrr"] == pytest.approx(max((1 / rank for rank in ranks if rank), default=0))
