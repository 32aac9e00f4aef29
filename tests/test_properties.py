"""What holds for any input, tried on drawn ones."""

import csv
import math
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.clean import Params, clean_catalogue, clean_ratings, number_ids
from stages.common.stage import StageError
from stages.common.tables import POSITIVES
from stages.metrics import user_metrics
from stages.pairs import contains, distinct, one_of_each, pair_keys, runs
from stages.raw_formats import find_files
from stages.raw_readers import Columns, read_movies, read_ratings
from stages.time_split import leave_one_out, order

hypothesis = pytest.importorskip("hypothesis", reason="needs tests/requirements.txt")
st = hypothesis.strategies
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

USUAL, SCALE = Columns(*[None] * 7), Params(rating_min=0.5, rating_max=5.0)
IDS = st.one_of(st.none(), st.integers(0, 9))
STARS = st.one_of(st.none(), st.floats(), st.sampled_from([0.5, 3.0, 4.0, 5.0]))
TIMES = st.one_of(st.none(), st.integers(-10, 2**33), st.integers(0, 50))


def cleaned(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """Ratings, catalogue and dropped rows of the raw files in `folder`."""
    files = find_files([path.name for path in folder.iterdir()], str(folder))
    raw = read_ratings(folder, files, USUAL), read_movies(folder, files, USUAL)
    ratings, movies, _ = number_ids(*raw)
    table, dropped = clean_ratings(ratings, SCALE, "ratings")
    return table, clean_catalogue(movies, table["movie_id"]), dropped


@hypothesis.given(st.lists(st.tuples(IDS, IDS, STARS, TIMES), max_size=30))
def test_every_raw_row_is_kept_dropped_and_counted_or_refused(rows: list[tuple]) -> None:
    names = {"user_id": pl.Int64, "movie_id": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64}
    raw = pl.DataFrame(rows, schema=names, orient="row")
    try:
        table, dropped = clean_ratings(raw, SCALE, "ratings")
    except StageError as error:
        assert str(error).startswith("ratings: ")
        return
    assert table.height + sum(dropped.values()) == raw.height
    assert table["rating"].is_between(0.5, 5).all()
    whole = [row for row in rows if None not in row and not math.isnan(row[2])]
    kept = set(table.select(*names).rows())
    assert kept == {(u, m, float(np.float32(s)), t) for u, m, s, t in whole}
    assert table["row"].is_sorted()


@hypothesis.given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300).map(lambda text: text.encode(errors="surrogatepass")),
        st.lists(st.text(alphabet='0123456789.,;"\n\r\t|- eZ', max_size=30), max_size=10).map(
            lambda lines: ("userId,movieId,rating,timestamp\n" + "\n".join(lines)).encode()
        ),
    ),
    st.sampled_from(["ratings.csv", "ratings.dat", "u.data", "x.inter", "ratings.parquet"]),
)
def test_no_content_of_a_ratings_file_makes_a_traceback(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(content)
        try:
            table, _, dropped = cleaned(Path(folder))
        except StageError as error:
            assert "; " in str(error)
            return
        assert table.height > 0
        assert min(dropped.values()) >= 0


TITLES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


@hypothesis.given(st.lists(TITLES, min_size=1, max_size=8))
def test_any_title_on_one_line_comes_through(titles: list[str]) -> None:
    hypothesis.assume(all(title.strip() for title in titles))
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, "movies.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["movieId", "title", "genres"])
            writer.writerows([n, title, "Drama"] for n, title in enumerate(titles))
        lines = [f"1,{n},4,{n}" for n in range(len(titles))]
        Path(folder, "ratings.csv").write_text(
            "\n".join(["userId,movieId,rating,timestamp", *lines])
        )
        _, catalogue, _ = cleaned(Path(folder))
    stripped = pl.Series(titles).str.strip_chars().to_list()
    assert catalogue["title"].to_list() == stripped


@hypothesis.given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), max_size=40))
def test_a_split_keeps_every_liking_once_and_in_order(pairs: list[tuple[int, int]]) -> None:
    table = pl.DataFrame(pairs, schema=["user_id", "timestamp"], orient="row")
    table = table.with_row_index("row").with_columns(movie_id=pl.col("row"))
    table = table.sort("user_id", "timestamp", "row")
    positives = table.select(pl.col(name).cast(kind) for name, kind in POSITIVES.items())
    parts = leave_one_out(order(positives, "file", 0), 3, 2)
    columns = ["user_id", "movie_id", "timestamp", "position"]
    together = pl.concat([part.select(columns) for part in parts]).sort("user_id", "position")
    assert together.select("user_id", "movie_id").equals(positives.select("user_id", "movie_id"))
    train, val, test = (dict(part.group_by("user_id").agg("position").rows()) for part in parts)
    for user, likings in train.items():
        assert len(val.get(user, [])) == len(test.get(user, []))
        if user in test:
            assert max(likings) + 1 == val[user][0] == test[user][0] - 1


@hypothesis.given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 12))
def test_metrics_equal_a_plain_loop(ranks: list[int], k: int) -> None:
    # Two targets cannot share a place.
    hypothesis.assume(len({r for r in ranks if r}) == len([r for r in ranks if r]))
    table = pl.DataFrame({"user_id": [1] * len(ranks), "rank": ranks})
    (row,) = user_metrics(table, [k]).rows(named=True)
    hits = [rank for rank in ranks if 1 <= rank <= k]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(len(ranks), k) + 1))
    assert row[f"recall@{k}"] == pytest.approx(len(hits) / len(ranks))
    assert row[f"precision@{k}"] == pytest.approx(len(hits) / k)
    assert row[f"hit_rate@{k}"] == float(bool(hits))
    assert row[f"ndcg@{k}"] == pytest.approx(sum(1 / math.log2(r + 1) for r in hits) / ideal)
    assert row["mrr"] == pytest.approx(max((1 / rank for rank in ranks if rank), default=0))


@hypothesis.given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20))
def test_pairs_and_runs_equal_a_plain_loop(pairs: list[tuple[int, int]]) -> None:
    types = {"user_id": pl.Int32, "movie_id": pl.Int32}
    table = pl.DataFrame(pairs, schema=types, orient="row").with_row_index("row")
    last = one_of_each(table, lambda rows: rows.unique(list(types), keep="last"))
    assert last["row"].to_list() == [n for n, p in enumerate(pairs) if p not in pairs[n + 1 :]]
    shared = one_of_each(table, lambda rows: rows.clear())
    assert shared["row"].to_list() == [n for n, p in enumerate(pairs) if pairs.count(p) == 1]
    users = sorted(user for user, _ in pairs)
    place, size = runs(np.array(users, dtype=np.int32))
    assert place.tolist() == [n - users.index(user) for n, user in enumerate(users)]
    assert size.tolist() == [users.count(user) for user in users]
    some = np.sort(pair_keys(*np.array(pairs[::2], dtype=int).reshape(-1, 2).T))
    every = pair_keys(*np.array(pairs, dtype=int).reshape(-1, 2).T)
    assert contains(some, every).tolist() == [pair in pairs[::2] for pair in pairs]
    assert distinct(every).tolist() == sorted(set(every.tolist()))
