"""What the inspection of a folder says, beside what a run does with the folder."""

import sys
from pathlib import Path

import polars as pl
import pytest

from stages.common.params import YAML
from stages.common.stage import StageError
from stages.data import inspect, raw_sample
from stages.data.raw_formats import RawFiles
from stages.data.raw_sample import Sample
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


U_ITEM = "10|A|01-Jan-1995||http://x" + "|1" * 19 + "\n"
FIXED = [
    (
        {"ratings.dat": "1::10::4::5\n", "movies.dat": '10::A "x::Drama\n'},
        [
            "format: MovieLens `.dat` files",
            "ratings: ratings.dat, 0.0 MB, separator '::'",
            "movies: movies.dat, 0.0 MB, separator '::'",
        ],
    ),
    (
        {"u.data": "1\t10\t4\t5\n", "u.item": U_ITEM},
        [
            "format: MovieLens 100K files",
            "ratings: u.data, 0.0 MB, separator tab",
            "movies: u.item, 0.0 MB, separator '|'",
        ],
    ),
    (
        {
            "x.inter": "user_id\titem_id:token\ttimestamp\n1\t10\t5\n",
            "x.item": 'item_id:token\tmovie_title\tclass\n10\t"A"\tWar\n11\t"B\n',
        },
        [
            "format: RecBole atomic files",
            "ratings: x.inter, 0.0 MB, separator tab",
            "  user_id        user        1",
            "  item_id:token  item        10",
            "  timestamp      timestamp   5",
            "movies: x.item, 0.0 MB, separator tab",
            "  item_id:token  item        10, 11",
            '  movie_title    title       "A", "B',
            "  class          genres      War, ",
        ],
    ),
    (
        {"ratings.csv": "userId,Name,movieId,rating,timestamp,genre,title\n1,x,10,4,5,War,A\n"},
        [
            "format: tables with named columns",
            "ratings: ratings.csv, 0.0 MB, separator ','",
            "  userId     user        1",
            "  Name       (not read)  x",
            "  movieId    item        10",
            "  rating     rating      4",
            "  timestamp  timestamp   5",
            "  genre      genres      War",
            "  title      title       A",
            "movies: no file, so the catalogue consists of the rated movies",
        ],
    ),
    (
        {
            "ratings.csv": "userId,movieId,rating,timestamp,genre\n1,10,4,5,x\n",
            "movies.csv": f"movieId,genres,title,{'n' * 24},{'m' * 25}\n10,,{'a' * 24},"
            f'{"b" * 25}," c \n d"\n',
        },
        [
            "format: tables with named columns",
            "ratings: ratings.csv, 0.0 MB, separator ','",
            "  userId     user        1",
            "  movieId    item        10",
            "  rating     rating      4",
            "  timestamp  timestamp   5",
            "  genre      (not read)  x",
            "movies: movies.csv, 0.0 MB, separator ','",
            f"  movieId{' ' * 17}  item        10",
            f"  genres{' ' * 18}  genres      ",
            f"  title{' ' * 19}  title       {'a' * 24}",
            f"  {'n' * 24}  (not read)  {'b' * 21}...",
            f"  {'m' * 21}...  (not read)  c d",
        ],
    ),
]


@pytest.mark.parametrize(("texts", "described"), FIXED, ids=["dat", "u", "recbole", "one", "csv"])
def test_files_of_every_format_are_described(
    texts: dict[str, str], described: list[str], raw: Path
) -> None:
    for name, text in texts.items():
        (raw / name).write_text(text)
    lines, error = lines_and_error(raw)
    assert not error
    assert lines[: len(described)] == described
    assert lines[len(described)] == "rows: 1"


def test_files_that_are_not_read_are_listed(raw: Path) -> None:
    (raw / "u.data").write_text("1\t10\t4\t5\n")
    for name in ("u.user", "README", "u.info"):
        (raw / name).write_text("")
    (raw / "mku.d").mkdir()
    assert lines_of(raw)[3] == "not read: README, u.info, u.user"
    (raw / "u.data").unlink()
    with pytest.raises(StageError, match=rf"^{raw}: has no ratings file; add one named "):
        lines_of(raw)


def test_a_path_that_is_no_folder_is_named(raw: Path) -> None:
    (raw / "u.data").write_text("1\t10\t4\t5\n")
    for path in (raw / "no", raw / "u.data"):
        message = f"{path}: is no folder; give the folder of the ratings file"
        assert lines_and_error(path) == ([], message)


def test_files_of_parquet_have_no_separator(raw: Path) -> None:
    ratings = {"userId": [1, 2, 3, 4], "item": [7] * 4, "rating": [4.0, None, 5.0, 1.0]}
    pl.DataFrame(ratings | {"timestamp": [5] * 4}).write_parquet(raw / "ratings.parquet")
    pl.DataFrame({"item": [7], "genres": [["X", "Y"]]}).write_parquet(raw / "movies.parquet")
    assert lines_and_error(raw)[0][1:8] == [
        "ratings: ratings.parquet, 0.0 MB",
        "  userId     user        1, 2, 3",
        "  item       item        7, 7, 7",
        "  rating     rating      4.0, , 5.0",
        "  timestamp  timestamp   5, 5, 5",
        "movies: movies.parquet, 0.0 MB",
        "  item    item        7",
    ]


def test_the_size_of_a_file_is_in_megabytes(raw: Path) -> None:
    (raw / "u.data").write_text("1\t10\t4\t5\n")
    samples = {"u.data": Sample(size=1_234_567_890_123, share=1.0, head_rows=1)}
    lines = inspect._describe_files(RawFiles("ml-100k", "u.data", ""), samples, raw)
    assert list(lines)[1] == "ratings: u.data, 1,234,567.9 MB, separator tab"


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


def test_the_block_names_this_folder_and_says_what_is_guessed(raw: Path) -> None:
    (raw / "ratings.csv").write_text(BOOKS)
    for source, sections in {
        "ml-100k": ["data", "clean", "positives"],
        str(raw.parent): ["data", "clean", "positives"],
        "raw": ["clean", "positives"],
    }.items():
        edit_params(raw.parent, data__source=source)
        lines = lines_of(Path("raw"))
        start = lines.index("params: replace these sections of params.yaml") + 1
        assert lines[start] == ""
        block = YAML(typ="safe", pure=True).load("\n".join(lines[start:]))
        assert list(block) == sections
        assert "data" not in block or block["data"]["source"] == str(raw)
        assert lines[-1] == "# a rating of 8 makes a positive, unless you set min_rating"


def test_a_file_of_interactions_has_no_ratings_and_needs_no_scale(raw: Path) -> None:
    (raw / "interactions.csv").write_text("userId,movieId,timestamp\n1,2,1200000000\n")
    edit_params(raw.parent, data__source="raw")
    lines = lines_of(raw)
    assert lines[-5:] == [
        "ratings: no such column, so every row is a positive",
        "users: 1, movies: 1, genres: 0",
        "notice: no ratings, so every row is a positive",
        "notice: no movies file, so there are no titles and genres",
        "params: params.yaml as it is",
    ]


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
        ("1112486027000000", "microseconds, 1112486027000000 to 1112486027000000"),
        ("1112486027000000000", "nanoseconds, 1112486027000000000 to 1112486027000000000"),
        ("0", "seconds since 1970, 1970-01-01 to 1970-01-01"),
        ("4102444800", "seconds since 1970, 2100-01-01 to 2100-01-01"),
        ("4102444801", "seconds, 4102444801 to 4102444801"),
        ("99999999999", "seconds, 99999999999 to 99999999999"),
        ("100000000000", "milliseconds, 100000000000 to 100000000000"),
        ("2101-01-01", "dates, 4133980800 to 4133980800"),
        ("-5", "seconds, -5 to -5"),
    ):
        (raw / "ratings.csv").write_text(f"{head}{time}\n")
        lines, error = lines_and_error(raw)
        assert f"times: {text}" in lines
        assert ("before 1970 or after 2100" in error) == ("-01" not in text and "-02" not in text)


def test_times_and_ratings_that_cannot_be_read_are_said(raw: Path) -> None:
    head = "userId,movieId,rating,timestamp\n"
    (raw / "ratings.csv").write_text(f"{head}1,2,x,soon\n")
    lines, error = lines_and_error(raw)
    assert "times: none that can be read" in lines
    assert "ratings: none that can be read" in lines
    assert "has the rating 'x'" in error
    rows = "1,2,4,2005-04-02\n1,3,4,7\n2,3,4,2005-04-04\n"
    (raw / "ratings.csv").write_text(head + rows)
    assert "times: dates, 2005-04-02 to 2005-04-04" in lines_and_error(raw)[0]
    # As many numbers as dates are numbers.
    (raw / "ratings.csv").write_text(f"{head}1,2,4,2005-04-02\n1,3,4,7\n2,3,4,x\n")
    assert "times: seconds since 1970, 1970-01-01 to 1970-01-01" in lines_and_error(raw)[0]


def test_the_most_frequent_ratings_are_listed(raw: Path) -> None:
    def ratings_line(ratings: list[float]) -> str:
        rows = [f"{n},1,{rating},1200000000\n" for n, rating in enumerate(ratings)]
        (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(rows))
        (line,) = [text for text in lines_and_error(raw)[0] if text.startswith("ratings: ")][1:]
        return line

    # The rating n is given n times.
    line = ratings_line([n for n in range(1, 13) for _ in range(n)])
    assert line.startswith("ratings: 1 to 12; most often 12 (15%), 11 (14%), 10 (13%), ")
    assert line.endswith(", 2 (3%), 1 (1%)")
    line = ratings_line([n for n in range(1, 14) for _ in range(n)])
    assert line.endswith(", 3 (3%), 2 (2%) and 1 more")
    assert ratings_line([2.5, 2.5, -1]) == "ratings: -1 to 2.5; most often 2.5 (67%), -1 (33%)"


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
    sizes = [text for text in lines_of(raw) if text.startswith("ratings: ratings.csv")]
    assert sizes == ["ratings: ratings.csv, 0.2 MB, separator ','"]


@pytest.mark.usefixtures("small_samples")
def test_the_largest_count_of_a_sample_may_not_be_that_of_the_file(raw: Path) -> None:
    for num_rows, highest in ((20, 300), (600, 1_000_000)):
        rows = [f"{n % 7},{n},{300 - n % 200},{10**9 + n}\n" for n in range(num_rows)]
        (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(rows))
        assert f"  rating_max: {highest}" in lines_of(raw)


def test_an_estimate_has_two_digits() -> None:
    assert [inspect._rounded(rows) for rows in (5, 123, 19_960.4, 2_449_999)] == [
        *(5, 120, 20_000, 2_400_000),
    ]


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


def test_the_rows_of_a_message_are_those_of_its_file() -> None:
    samples = {"a.csv": Sample(10, 0.5, head_rows=7), "b.csv": Sample(10, 0.5, head_rows=9)}
    for message, expected in {
        "/s/a.csv: data row 7 is 7": "/raw/a.csv: data row 7 is 7",
        "/s/a.csv: data row 8 is 8": "/raw/a.csv: a data row is 8",
        "/s/a.csv: line 12 is 8, as /s/a.csv": "/raw/a.csv: a line is 8, as /raw/a.csv",
        "/s/b.csv: data row 8 is 8": "/raw/b.csv: data row 8 is 8",
        "/s/b.csv: data row 10 is 8": "/raw/b.csv: a data row is 8",
        "/s/c.csv: data row 10 is 8": "/raw/c.csv: data row 10 is 8",
    }.items():
        assert inspect._in_folder(message, "/s", Path("/raw"), samples) == expected


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
