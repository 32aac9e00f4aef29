"""Properties of the time split that hold for any input, tried on drawn inputs."""

import polars as pl

from stages.common.tables import POSITIVES
from stages.time_split import leave_one_out, order
from tests.properties import hypothesis
from tests.properties import strategies as st


@hypothesis.given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), max_size=40))
def test_a_split_keeps_every_positive_once_and_in_order(pairs: list[tuple[int, int]]) -> None:
    table = pl.DataFrame(pairs, schema=["user_id", "timestamp"], orient="row")
    table = table.with_row_index("row").with_columns(movie_id=pl.col("row"))
    table = table.sort("user_id", "timestamp", "row")
    positives = table.select(pl.col(name).cast(kind) for name, kind in POSITIVES.items())
    split = leave_one_out(order(positives, "file", 0), 3, 2)
    parts = split.train, split.val, split.test_targets
    columns = ["user_id", "movie_id", "timestamp", "position"]
    union = pl.concat([part.select(columns) for part in parts]).sort("user_id", "position")
    assert union.select("user_id", "movie_id").equals(positives.select("user_id", "movie_id"))
    train, val, test = (dict(part.group_by("user_id").agg("position").rows()) for part in parts)
    for user, positions in train.items():
        assert len(val.get(user, [])) == len(test.get(user, []))
        if user in test:
            assert max(positions) + 1 == val[user][0] == test[user][0] - 1
    assert split.later.equals(split.test_targets.select(split.later.columns))
