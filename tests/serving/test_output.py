"""Tables for people, and formats for programs."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from stages.serving.output import MAX_WIDTH, cells, fit, format_table, write_file, write_rows
from stages.serving.pipeline import NEW_USER, SERVED, ServingPipeline


@pytest.fixture(scope="module")
def served(recommender: ServingPipeline) -> pl.DataFrame:
    return recommender.for_person(NEW_USER, [5], 3)


def test_a_table_has_a_line_for_each_movie(
    recommender: ServingPipeline, served: pl.DataFrame
) -> None:
    lines = format_table(served, recommender.movie_ids).splitlines()
    assert lines[0].split() == ["#", "title", "genres", "score"]
    assert len(lines) == 4
    assert lines[1].startswith("1  Film, No. ")
    assert lines[3].endswith(f"  {served['score'][2]:.3f}")
    served = served.with_columns(score=pl.Series([10.5, 9.25, 1], dtype=pl.Float32))
    lines = format_table(served, recommender.movie_ids).splitlines()
    assert [line[-8:] for line in lines] == ["   score", "  10.500", "   9.250", "   1.000"]


def test_the_explanations_are_lines_below_their_movie(
    recommender: ServingPipeline, served: pl.DataFrame
) -> None:
    served = served.with_columns(
        explanation_id=pl.Series([5, None, 5], dtype=pl.Int32),
        explanation=pl.Series(["Film, No. 5 (1984)", None, "Film, No. 5 (1984)"]),
    )
    short = format_table(served, recommender.movie_ids).splitlines()
    lines = format_table(served, recommender.movie_ids, explain=True).splitlines()
    assert [line for line in lines if not line.startswith("   ")] == short
    assert lines[1:4] == [
        short[1],
        "   because you liked Film, No. 5 (1984) [5]",
        "   found by (rank there): " + ", ".join(served["generators"][0]),
    ]
    assert lines[5] == "   because it is popular"


def test_reasons_fit_into_a_terminal(served: pl.DataFrame) -> None:
    names = [f"it-em{n} 1234567{n}" for n in range(9)]  # "it-em4" and "it-" alone would fit
    served = served.with_columns(
        generators=pl.lit(names),
        explanation=pl.lit("映画" * 60),
        explanation_id=pl.lit(5, dtype=pl.Int32),
    )
    ids = pl.DataFrame({"movie_id": [*served["movie_id"], 5], "raw_id": ["a", "b", "c", "tt5"]})
    lines = format_table(served, ids, explain=True).splitlines()
    assert max(map(cells, lines)) == MAX_WIDTH
    assert lines[2].endswith("... [tt5]")
    first, second = lines[3:5]
    assert first == "   found by (rank there): " + ", ".join(names[:4]) + ","
    assert second == "     " + ", ".join(names[4:])


@pytest.mark.parametrize("title", ["Long " * 40, "映画" * 40, "e\u0301" * 200], ids=len)
def test_a_line_fits_into_a_terminal(served: pl.DataFrame, title: str) -> None:
    served = served.with_columns(title=pl.lit(title), genres=pl.lit(["Documentary"] * 9))
    ids = pl.DataFrame({"movie_id": served["movie_id"], "raw_id": ["tt1", "tt22", "tt333"]})
    lines = format_table(served, ids).splitlines()
    assert {cells(line) for line in lines} == {MAX_WIDTH}
    assert "... [tt333]  " in lines[3]
    assert "  Documentary|" in lines[3]


def test_an_id_is_never_cut(served: pl.DataFrame) -> None:
    served = served.with_columns(title=pl.lit("Long " * 20))
    ids = {"movie_id": served["movie_id"], "raw_id": ["tt1", "x" * 90, "tt3"]}
    lines = format_table(served, pl.DataFrame(ids)).splitlines()
    assert lines[2].startswith(f"2  ... [{'x' * 90}]  ")
    starts = {line.index(genres[0]) for line, genres in zip(lines[1:], served["genres"])}
    assert len(starts) == 1


def test_an_id_that_is_the_title_is_written_once(served: pl.DataFrame) -> None:
    served = served.with_columns(title=pl.lit("song:28"))
    ids = {"movie_id": served["movie_id"], "raw_id": ["song:28", "song:2", "song:3"]}
    lines = format_table(served, pl.DataFrame(ids)).splitlines()
    assert lines[1].startswith("1  song:28  ")
    assert lines[2].startswith("2  song:28 [song:2]  ")


@pytest.mark.parametrize(("text", "count"), [("a", 1), ("e\u0301", 1), ("映", 2), ("\uff21", 2)])
def test_a_character_takes_the_cells_of_its_kind(text: str, count: int) -> None:
    assert cells(text * 3) == 3 * count


def test_a_title_does_not_move_the_cursor() -> None:
    assert fit("a\nb\x1b[2J", 8) == "a b [2J "
    assert fit("abcdef", 5, "!") == "a...!"
    assert fit("映画映画", 6) == "映..." + " "


@pytest.mark.parametrize("batches", [1, 3])
def test_formats_for_programs_hold_the_same_rows(served: pl.DataFrame, batches: int) -> None:
    served = served.with_columns(
        title=pl.Series(['"A", Bé', "x\ny", "z"]), explanation=pl.Series(["q", None, "q"])
    )
    parts = list(served.iter_slices(served.height // batches))
    contents = {}
    for kind in ("json", "csv", "parquet"):
        stream = io.BytesIO()
        write_rows(iter(parts), stream, kind, SERVED)
        contents[kind] = stream.getvalue()
    rows = json.loads(contents["json"])
    assert pl.DataFrame(rows, schema=SERVED).equals(served)
    assert contents["json"].count(b"\n") == served.height + 2
    assert pl.read_parquet(contents["parquet"]).equals(served)
    # Not every reader of parquet knows the views of newer versions.
    assert "view" not in str(pq.read_schema(io.BytesIO(contents["parquet"])))
    lists = pl.col("genres", "generators").list.join("|")
    table = pl.read_csv(contents["csv"], schema_overrides={"score": pl.Float32})
    assert table.select("score", "title", "genres", "generators").equals(
        served.with_columns(lists).select("score", "title", "genres", "generators")
    )


def test_no_rows_are_an_empty_list() -> None:
    for batches in ([], [pl.DataFrame(schema=SERVED)]):
        stream = io.BytesIO()
        write_rows(batches, stream, "json", SERVED)
        assert json.loads(stream.getvalue()) == []
        stream = io.BytesIO()
        write_rows(batches, stream, "csv", SERVED)
        assert stream.getvalue().decode() == ",".join(SERVED.names()) + "\n"


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_an_interrupted_run_leaves_the_old_file(
    recommender: ServingPipeline, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"out.{kind}"
    write_file(recommender.for_users(recommender.users[:3], 2), path, kind, SERVED)
    content = path.read_bytes()
    assert content.startswith({"json": b"[", "csv": b"user_id,", "parquet": b"PAR1"}[kind])

    def interrupted_batches() -> Iterator[pl.DataFrame]:
        yield from recommender.for_users(recommender.users, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(interrupted_batches(), path, kind, SERVED)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
