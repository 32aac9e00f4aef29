"""What the inspection of a folder says, beside what a run does with the folder."""

import sys
from pathlib import Path

import pytest

from stages.common.params import YAML
from stages.common.stage import StageError
from stages.data import inspect, raw_sample
from tests.conftest import ROOT, edit_params, run
from tests.pipeline.faults import CASES, Case
from tests.raw_folder import run_clean

BOOKS = '"User-ID";"ISBN";"Book-Rating";"timestamp";"Publisher"\n' + "".join(
    f'"{u}";"{m}X";"{(u * m) % 11}";"{10**9 + u * m}";"Acme; Sons"\n'
    for u in range(1, 9)
    for m in range(9)
)


def lines_of(folder: Path) -> list[str]:
    return "\n".join(inspect.inspect_folder(folder)).split("\n")


def lines_and_error(folder: Path) -> tuple[list[str], str]:
    """The lines before the error, and the error or an empty text."""
    lines = []
    try:
        for line in inspect.inspect_folder(folder):
            lines.append(line)
    except StageError as error:
        return lines, str(error)
    return lines, ""


def test_files_columns_values_and_params_are_described(raw: Path) -> None:
    (raw / "ratings.csv").write_text(BOOKS)
    (raw / "notes.txt").write_text("")
    lines = lines_of(raw)
    assert lines[:9] == [
        "format: tables with named columns",
        "ratings: ratings.csv, 0.0 MB, separator ';'",
        "  User-ID      user        1, 1, 1",
        "  ISBN         item        0X, 1X, 2X",
        "  Book-Rating  rating      0, 1, 2",
        "  timestamp    timestamp   1000000000, 1000000001, 1000000002",
        "  Publisher    (not read)  Acme; Sons, Acme; Sons, Acme; Sons",
        "movies: no file, so the catalogue consists of the rated movies",
        "not read: notes.txt",
    ]
    assert lines[9:11] == ["rows: 72", "times: seconds since 1970, 2001-09-09 to 2001-09-09"]
    assert lines[11].startswith("ratings: 0 to 10; most often 0 (11%), ")
    assert "users: 8, movies: 8, genres: 0" in lines


def test_a_run_with_the_block_reads_the_folder(raw: Path) -> None:
    (raw / "ratings.csv").write_text(BOOKS)
    with pytest.raises(StageError, match="has a rating outside"):
        run_clean(raw)
    lines = lines_of(raw)
    block = lines[lines.index("params: replace these sections of params.yaml") + 1 :]
    sections = YAML(typ="safe", pure=True).load("\n".join(block))
    assert sections["data"]["source"] == str(raw)
    assert sections["clean"]["no_rating"] == [0]
    assert sections["positives"]["min_rating"] == 8
    path = raw.parent / "params.yaml"
    params = YAML(typ="safe", pure=True).load(path)
    YAML(typ="safe", pure=True).dump(params | sections, path)
    outputs = run_clean(raw)
    assert (outputs.figures["users"], outputs.figures["rating_max"]) == (8, 10)
    assert lines_of(raw)[-1] == "params: params.yaml as it is"


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.stage == "clean" and not c.params and "outside" not in c.error],
    ids=lambda case: case.fault,
)
def test_the_error_is_that_of_a_run(case: Case, raw: Path) -> None:
    for name, content in case.files.items():
        (raw / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if not case.error:
        assert lines_of(raw)[0].startswith("format: ")
        return
    with pytest.raises(StageError) as run_error:
        run_clean(raw)
    with pytest.raises(StageError) as error:
        lines_of(raw)
    assert str(error.value) == str(run_error.value)


def test_what_can_be_said_is_said_before_an_error(raw: Path) -> None:
    (raw / "ratings.csv").write_text("reader,ISBN,stars,timestamp\na,b,4,5\n")
    lines, error = lines_and_error(raw)
    assert error.startswith(f"{raw}/ratings.csv: has no columns 'userId' and 'rating' among reader")
    assert "  reader     (not read)  a" in lines
    edit_params(raw.parent, data__columns__user="reader", data__columns__rating="stars")
    assert "  reader     user        a" in lines_of(raw)


def test_times_name_their_unit(raw: Path) -> None:
    head = "userId,movieId,rating,timestamp\n1,2,4,"
    for time, text in (
        ("1112486027", "seconds since 1970, 2005-04-02 to 2005-04-02"),
        ("2005-04-02", "dates, 2005-04-02 to 2005-04-02"),
        ("1112486027000", "milliseconds, 1112486027000 to 1112486027000"),
        ("-5", "seconds, -5 to -5"),
    ):
        (raw / "ratings.csv").write_text(f"{head}{time}\n")
        lines, error = lines_and_error(raw)
        assert f"times: {text}" in lines
        assert ("before 1970 or after 2100" in error) == (
            "since" not in text and "dates" not in text
        )


@pytest.fixture
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"WHOLE_FILE": 1000, "HEAD": 1000, "BLOCK": 200, "NUM_BLOCKS": 4}
    for name, size in sizes.items():
        monkeypatch.setattr(raw_sample, name, size)


@pytest.mark.usefixtures("small_samples")
def test_a_large_file_is_sampled_and_its_rows_are_estimated(raw: Path) -> None:
    rows = [f"{n % 50:02},{n % 37:02},4,{10**9 + n}\n" for n in range(10_000)]
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(rows))
    (line,) = (line for line in lines_of(raw) if line.startswith("rows: about "))
    assert 9_500 <= int(line.split()[2].replace(",", "").rstrip(";")) <= 10_500


@pytest.mark.usefixtures("small_samples")
def test_a_row_is_numbered_only_in_the_head_of_a_sample(raw: Path) -> None:
    rows = [f"{n % 50:02},{n % 37:02},4,{10**9 + n}\n" for n in range(10_000)]
    head = "userId,movieId,rating,timestamp\n"
    late = [row.replace(",4,", ",x,") for row in rows]
    (raw / "ratings.csv").write_text(head + "".join(rows[:5000] + late[5000:]))
    with pytest.raises(StageError, match=rf"^{raw}/ratings\.csv: a data row has the rating 'x', "):
        lines_of(raw)
    (raw / "ratings.csv").write_text(head + "".join(rows[:9] + late[9:]))
    with pytest.raises(StageError, match=r"ratings\.csv: data row 10 has the rating 'x', "):
        lines_of(raw)


def test_the_command_prints_the_error_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stages.data.inspect"]
    process = run([*command, str(tmp_path / "no")], ROOT)
    assert process.returncode == 1
    assert (
        process.stderr
        == f"error: {tmp_path}/no: is no folder; give the folder of the ratings file\n"
    )
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,4,10\n")
    process = run([*command, str(tmp_path)], ROOT)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("format: tables with named columns\n")
