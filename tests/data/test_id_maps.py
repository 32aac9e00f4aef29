from pathlib import Path

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data.id_maps import apply_id_map, build_id_map, id_table
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
