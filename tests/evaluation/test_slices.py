import polars as pl
import pytest

from stages.common.tables import RANKS
from stages.evaluation.slices import (
    HISTORY_LENGTH_BOUNDS,
    POSITIVES_BOUNDS,
    plus_four_intervals,
    range_label,
    slice_metrics,
)

# user_id, history_length, movie_id, tied, new_user, rank and positives of every target.
TARGETS = [
    (1, 10, 5, True, False, 1, 0),
    (2, 11, 6, False, True, 3, 10),
    (3, 201, 5, False, False, 0, 1001),
    (4, 50, 7, False, False, 2, 100),
]
GENRES = {"movie_id": [7, 6, 5], "genre_War": [0, 1, 1], "genre_genre_": [0, 0, 1]}
# By slice the users of every value.
SLICES = {
    "activity": {"0-10": [1], "11-50": [2, 4], "201+": [3]},
    "genre": {"genre_": [1, 3], "War": [1, 2, 3]},
    "target": {"tied": [1], "untied": [2, 3, 4]},
    "target_positives": {"0": [1], "1-10": [2], "11-100": [4], "1001+": [3]},
    "user": {"known": [1, 3, 4], "new": [2]},
}
RECALL_1 = {1: 1, 2: 0, 3: 0, 4: 0}
NDCG_10 = {1: 1, 2: 0.5, 3: 0, 4: 0.6309297535714575}


def ranks() -> pl.DataFrame:
    columns = ["user_id", "history_length", "movie_id", "tied", "new_user", "rank", "positives"]
    table = pl.DataFrame(TARGETS, schema=columns, orient="row")
    table = table.with_columns(source_user_id="user_id", timestamp=0)
    return table.select(RANKS.names()).cast(dict(RANKS))


def plus_four(values: list[float]) -> tuple[float, float]:
    padded = [*values, 0, 0, 1, 1]
    mean = sum(padded) / len(padded)
    deviation = (sum((value - mean) ** 2 for value in padded) / len(padded)) ** 0.5
    error = 1.96 * deviation / len(padded) ** 0.5
    return max(0, mean - error), min(1, mean + error)


def test_every_slice_has_the_metrics_of_its_users() -> None:
    genres = pl.DataFrame(GENRES, schema_overrides={"movie_id": pl.Int32})
    table = slice_metrics(ranks(), genres, [1, 10])
    assert table.columns == [
        *("slice", "value", "users", "recall@1", "recall@10", "ndcg@1", "ndcg@10"),
        *("recall@10_low", "recall@10_high", "ndcg@10_low", "ndcg@10_high"),
    ]
    rows = {(row["slice"], row["value"]): row for row in table.iter_rows(named=True)}
    users = {(name, v): ids for name, values in SLICES.items() for v, ids in values.items()}
    assert list(rows) == sorted(users)
    for key, ids in users.items():
        assert rows[key]["users"] == len(ids)
        assert rows[key]["recall@1"] == pytest.approx(sum(RECALL_1[i] for i in ids) / len(ids))
        assert rows[key]["ndcg@10"] == pytest.approx(sum(NDCG_10[i] for i in ids) / len(ids))
        ends = plus_four([NDCG_10[i] for i in ids])
        assert (rows[key]["ndcg@10_low"], rows[key]["ndcg@10_high"]) == pytest.approx(ends)


def test_the_bounds_of_the_ranges_are_in_the_lower_one() -> None:
    table = pl.DataFrame({"n": [0, 1, 10, 11, 50, 51, 100, 101, 200, 201, 1000, 1001]})
    labels = table.select(
        length=range_label("n", HISTORY_LENGTH_BOUNDS), positives=range_label("n", POSITIVES_BOUNDS)
    )
    expected = [*["0-10"] * 3, *["11-50"] * 2, *["51-200"] * 4, *["201+"] * 3]
    assert labels["length"].to_list() == expected
    expected = ["0", *["1-10"] * 2, *["11-100"] * 4, *["101-1000"] * 4, "1001+"]
    assert labels["positives"].to_list() == expected


@pytest.mark.parametrize("values", [[0.0], [1.0] * 3, [0.0] * 500, [1.0] * 500, [0.1, 0.6]])
def test_intervals_are_those_of_two_more_hits_and_misses(values: list[float]) -> None:
    ends = plus_four_intervals(pl.DataFrame({"a": values, "b": [0.0] * len(values)}), ["a"])
    low, high = plus_four(values)
    assert ends == {"a_low": pytest.approx(low), "a_high": pytest.approx(high)}
    assert 0 <= low <= high <= 1
