"""Properties of raw data and of arrays of pairs that hold for any input, tried on drawn inputs."""

import csv
import math
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from stages.clean import clean_ratings, drop_repeated
from stages.common.stage import StageError
from stages.data.pairs import cumcount_and_size, deduplicate, isin_sorted, pair_keys, sorted_unique
from stages.data.raw_text import MISSING
from tests.properties import hypothesis
from tests.properties import strategies as st
from tests.raw_folder import SCALE, clean_folder

IDS = st.one_of(st.none(), st.integers(0, 9))
STARS = st.one_of(st.none(), st.floats(), st.sampled_from([0.5, 3.0, 4.0, 5.0]))
TIMES = st.one_of(st.none(), st.integers(-10, 2**33), st.integers(0, 50))
TITLES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


@hypothesis.given(st.lists(st.tuples(IDS, IDS, STARS, TIMES), max_size=30))
def test_every_raw_row_is_kept_dropped_and_counted_or_refused(rows: list[tuple]) -> None:
    types = {"user_id": pl.Int64, "movie_id": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64}
    raw = pl.DataFrame(rows, schema=types, orient="row")
    try:
        table, dropped = clean_ratings(raw, SCALE, "ratings")
        table, dropped["repeated"] = drop_repeated(table)
    except StageError as error:
        assert str(error).startswith("ratings: ")
        return
    assert table.height + sum(dropped.values()) == raw.height
    assert table["rating"].is_between(0.5, 5).all()
    complete = [row for row in rows if None not in row and not math.isnan(row[2])]
    distinct = set(table.select(*types).rows())
    assert distinct == {(u, m, float(np.float32(s)), t) for u, m, s, t in complete}
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
def test_no_content_of_a_ratings_file_causes_a_traceback(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(content)
        try:
            table, _, dropped = clean_folder(Path(folder))
        except StageError as error:
            assert "; " in str(error)
            return
        assert table.height > 0
        assert min(dropped.values()) >= 0


@hypothesis.given(st.lists(TITLES, min_size=1, max_size=8))
def test_any_title_on_one_line_is_read_unchanged(titles: list[str]) -> None:
    hypothesis.assume(all(title.strip() not in MISSING for title in titles))
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, "movies.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["movieId", "title", "genres"])
            writer.writerows([n, title, "Drama"] for n, title in enumerate(titles))
        lines = [f"1,{n},4,{n}" for n in range(len(titles))]
        Path(folder, "ratings.csv").write_text(
            "\n".join(["userId,movieId,rating,timestamp", *lines])
        )
        _, catalogue, _ = clean_folder(Path(folder))
    stripped = pl.Series(titles).str.strip_chars().to_list()
    assert catalogue["title"].to_list() == stripped


@hypothesis.given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20))
def test_pairs_and_groups_equal_a_plain_loop(pairs: list[tuple[int, int]]) -> None:
    types = {"user_id": pl.Int32, "movie_id": pl.Int32}
    table = pl.DataFrame(pairs, schema=types, orient="row").with_row_index("row")
    last = deduplicate(table, lambda rows: rows.unique(list(types), keep="last"))
    assert last["row"].to_list() == [n for n, p in enumerate(pairs) if p not in pairs[n + 1 :]]
    single = deduplicate(table, lambda rows: rows.clear())
    assert single["row"].to_list() == [n for n, p in enumerate(pairs) if pairs.count(p) == 1]
    users = sorted(user for user, _ in pairs)
    index, size = cumcount_and_size(np.array(users, dtype=np.int32))
    assert index.tolist() == [n - users.index(user) for n, user in enumerate(users)]
    assert size.tolist() == [users.count(user) for user in users]
    half = np.sort(pair_keys(*np.array(pairs[::2], dtype=int).reshape(-1, 2).T))
    keys = pair_keys(*np.array(pairs, dtype=int).reshape(-1, 2).T)
    assert isin_sorted(half, keys).tolist() == [pair in pairs[::2] for pair in pairs]
    assert sorted_unique(keys).tolist() == sorted(set(keys.tolist()))
