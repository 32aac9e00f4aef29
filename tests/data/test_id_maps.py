from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data.id_maps import apply_id_map, build_id_map, id_table, refuse_lookalikes
from tests.raw_folder import run_clean

NO_IDS = pl.Series([], dtype=pl.String)
TEXT_IDS = "userId,movieId,rating,timestamp\nzoé,tt02,4,100\nzoé,tt10,3,200\n0b-1,tt02,5,50\n"


def test_plain_numbers_need_no_map() -> None:
    assert build_id_map(pl.Series(["0", "2147483647", None]), NO_IDS) is None
    assert build_id_map(pl.Series([5, 0], dtype=pl.Int64), NO_IDS) is None
    assert build_id_map(pl.Series(["2147483648"]), NO_IDS)["id"].to_list() == [1]


def test_a_map_has_the_distinct_ids_of_both_tables_in_the_order_of_their_bytes() -> None:
    id_map = build_id_map(pl.Series(["tt7", " tt10", "tt7", ""]), pl.Series(["tt2"]))
    assert id_map.rows() == [("tt10", 1), ("tt2", 2), ("tt7", 3)]
    table = pl.DataFrame({"movie_id": ["tt7", "tt99", "tt2 "], "row": [0, 1, 2]})
    assert apply_id_map(table, {"movie_id": id_map})["movie_id"].to_list() == [3, None, 2]
    raw_ids = id_table("movie_id", pl.Series([3, 2, 3]), id_map)
    assert raw_ids.rows() == [(2, "tt2"), (3, "tt7")]


def test_without_a_map_an_id_that_is_no_plain_number_is_null() -> None:
    table = pl.DataFrame({"user_id": [" 5", "x", "-1", "2147483648"]})
    assert apply_id_map(table, {"user_id": None})["user_id"].to_list() == [5, None, None, None]


def test_plain_numbers_of_any_type_stay_between_zero_and_the_largest() -> None:
    ids = ["0", "2147483647 ", "2147483648", "-1", None]
    table = pl.DataFrame({"user_id": ids, "movie_id": pl.Series([7, -1, 2**31 - 1, 2**31, 0])})
    mapped = apply_id_map(table, {"user_id": None, "movie_id": None})
    assert mapped.schema == {"user_id": pl.Int64, "movie_id": pl.Int64}
    assert mapped["user_id"].to_list() == [0, 2**31 - 1, None, None, None]
    assert mapped["movie_id"].to_list() == [7, None, 2**31 - 1, None, 0]
    raw_ids = id_table("user_id", pl.Series([8, 0, 8]), None)
    assert raw_ids.schema == {"user_id": pl.Int32, "raw_id": pl.String}
    assert raw_ids.rows() == [(0, "0"), (8, "8")]


def test_both_ids_of_a_table_are_mapped_and_its_rows_stay_in_order() -> None:
    maps = {
        "user_id": build_id_map(pl.Series(["b", "a", "1"]), pl.Series(["c", None, " "])),
        "movie_id": build_id_map(pl.Series([2**31, 5]), pl.Series([7])),
    }
    assert maps["user_id"].schema == {"raw_id": pl.String, "id": pl.Int64}
    assert maps["user_id"].rows() == [("1", 1), ("a", 2), ("b", 3), ("c", 4)]
    assert maps["movie_id"].rows() == [("2147483648", 1), ("5", 2), ("7", 3)]
    users = ["c", "x", "1", "a", None] * 20
    movies = [7, 2**31, 9, None, 5] * 20
    table = pl.DataFrame({"user_id": users, "row": range(100), "movie_id": movies})
    mapped = apply_id_map(table, maps)
    assert mapped.schema == {"user_id": pl.Int64, "row": pl.Int64, "movie_id": pl.Int64}
    assert mapped["row"].to_list() == list(range(100))
    assert mapped["user_id"].to_list() == [4, None, 1, 2, None] * 20
    assert mapped["movie_id"].to_list() == [3, 1, None, None, 2] * 20
    raw_ids = id_table("user_id", pl.Series([4, 1, 3, 1]), maps["user_id"])
    assert raw_ids.schema == {"user_id": pl.Int32, "raw_id": pl.String}
    assert raw_ids.rows() == [(1, "1"), (3, "b"), (4, "c")]


def test_text_ids_are_numbered_in_order_and_can_be_looked_up(raw: Path) -> None:
    (raw / "ratings.csv").write_text(TEXT_IDS)
    (raw / "movies.csv").write_text("movieId,title,genres\ntt10,Ten,Drama\ntt01,One,Drama\n")
    outputs = run_clean(raw)
    assert outputs.users.rows() == [(1, "0b-1"), (2, "zoé")]
    # tt01 has no rating but is in the catalogue; tt02 has no title, so its id stands in.
    assert outputs.movies.rows() == [(1, "tt01"), (2, "tt02"), (3, "tt10")]
    assert outputs.catalogue["title"].to_list() == ["One", "tt02", "Ten"]
    assert outputs.raw_rows() == [("zoé", "tt02", 4), ("zoé", "tt10", 3), ("0b-1", "tt02", 5)]


def test_the_order_of_rows_does_not_change_the_ids(raw: Path) -> None:
    (raw / "ratings.csv").write_text(TEXT_IDS)
    outputs = run_clean(raw)
    header, *rows = TEXT_IDS.splitlines()
    (raw / "ratings.csv").write_text("\n".join([header, *rows[::-1]]) + "\n")
    reversed_outputs = run_clean(raw)
    assert reversed_outputs.users.equals(outputs.users)
    assert reversed_outputs.movies.equals(outputs.movies)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "ids", [["0195153448", "034545104X"], ["76561197960265729", "5"], ["007", "7"], ["-1", "1"]]
)
def test_ids_that_are_no_plain_numbers_lose_nothing(raw: Path, ids: list[str], kind: str) -> None:
    table = pl.DataFrame({"userId": [1, 2], "movieId": ids, "rating": 4.0, "timestamp": 9})
    if kind == "csv":
        table.write_csv(raw / "ratings.csv")
    else:
        table.write_parquet(raw / "ratings.parquet")
    outputs = run_clean(raw)
    assert outputs.raw_rows() == [("1", ids[0], 4), ("2", ids[1], 4)]
    assert sorted(outputs.movies["movie_id"]) == [1, 2]


def test_large_whole_numbers_of_a_parquet_file_are_mapped(raw: Path) -> None:
    table = {"user_id": [2**40, 5], "movie_id": [3.0, None], "rating": 4, "timestamp": 9}
    pl.DataFrame(table).write_parquet(raw / "ratings.parquet")
    outputs = run_clean(raw, clean__max_dropped=0.5)
    assert outputs.raw_rows() == [(str(2**40), "3", 4)]
    assert outputs.figures["dropped_incomplete"] == 1


def test_a_header_in_the_middle_does_not_turn_numbers_into_text(raw: Path) -> None:
    header = "userId,movieId,rating,timestamp\n"
    (raw / "ratings.csv").write_text(f"{header}8,30,4,100\n{header}9,31,4,100\n")
    outputs = run_clean(raw, clean__max_dropped=0.5)
    assert outputs.users["user_id"].to_list() == [8, 9]
    assert outputs.figures["dropped_incomplete"] == 1


def test_markers_of_missing_ids_are_no_ids(raw: Path) -> None:
    markers = ["NULL", " nan", "None", "\\N", "", "NA"]
    lines = [f"{user},30,4,100\n5,{user},4,100\n" for user in markers]
    (raw / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n8,30,4,100\n" + "".join(lines)
    )
    outputs = run_clean(raw, clean__max_dropped=1.0)
    assert outputs.raw_rows() == [("8", "30", 4)]
    assert outputs.figures["dropped_incomplete"] == len(lines) * 2
    message = r"ratings\.csv: data row 2 has the user id 'NULL', and 92\.3% of the rows cannot be"
    with pytest.raises(StageError, match=message):
        run_clean(raw, clean__max_dropped=0.9)


@pytest.mark.parametrize(
    "twin",
    ["zo\u00e9 b\u200b", "zoe\u0301 b", "zo\u00e9\u00a0b", "zo\u00e9  b", "\ufeffzo\u00e9 b"],
)
def test_two_ids_that_look_the_same_are_refused(raw: Path, twin: str) -> None:
    text = f"userId,movieId,rating,timestamp\nzo\u00e9 b,1,4,100\n{twin},1,4,200\n"
    (raw / "ratings.csv").write_text(text, encoding="utf-8")
    message = r"ratings\.csv: the user ids '.*' and '.*' look the same; write each id in one way$"
    with pytest.raises(StageError, match=message) as error:
        run_clean(raw)
    assert ascii(twin) in str(error.value)
    assert str(error.value).isascii()


def test_ids_that_look_different_are_different() -> None:
    # The zero-width non-joiner separates Persian letters that would be joined.
    ids = ["me", "m\u00e9", "ME", "m e", "\u0645\u06cc\u200c\u0631", "\u0645\u06cc\u0631"]
    refuse_lookalikes(pl.Series(ids), "user", "r")
