from pathlib import Path

import polars as pl
import pytest

from stages.data import raw_sample
from stages.data.raw_sample import Sample, sample_files

HEADER = "userId,movieId,rating,timestamp\n"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A folder, and an empty one for its sample; more than 1,000 bytes are sampled."""
    sizes = {"WHOLE_FILE": 1000, "HEAD": 500, "BLOCK": 200, "NUM_BLOCKS": 4}
    for name, size in (sizes | {"HEAD_ROWS": 50, "BLOCK_ROWS": 10}).items():
        monkeypatch.setattr(raw_sample, name, size)
    for name in ("raw", "sample"):
        (tmp_path / name).mkdir()
    return tmp_path / "raw", tmp_path / "sample"


def test_a_small_file_is_read_whole(folders: tuple[Path, Path]) -> None:
    raw, target = folders
    texts = {"small.csv": HEADER + "1,2,3,4\n", "last.csv": HEADER + "1,2,3,4\n" * 121}
    for name, text in texts.items():
        (raw / name).write_text(text)
    assert sample_files(raw, texts, target) == {
        "small.csv": Sample(size=40, share=1, head_rows=40),
        "last.csv": Sample(size=1000, share=1, head_rows=1000),
    }
    for name, text in texts.items():
        assert (target / name).read_text() == text


def test_a_sample_has_whole_lines_from_the_start_to_the_end(folders: tuple[Path, Path]) -> None:
    raw, target = folders
    lines = [f"{n:05},{n},4,{n}\n" for n in range(1000)]
    (raw / "ratings.csv").write_text(HEADER + "".join(lines))
    sample = sample_files(raw, ["ratings.csv"], target)["ratings.csv"]
    text = (target / "ratings.csv").read_text()
    rows = [int(line.split(",")[0]) for line in text.splitlines()[1:]]
    assert text.startswith(HEADER)
    assert set(text.splitlines(keepends=True)) <= {HEADER, *lines}
    assert rows == sorted(set(rows))
    assert rows[: sample.head_rows - 1] == list(range(sample.head_rows - 1))
    assert rows[-1] > 990
    assert len(text) < 1500
    assert len(rows) / sample.share == pytest.approx(1000, rel=0.1)
    assert sample.size == (raw / "ratings.csv").stat().st_size


@pytest.mark.parametrize("size", range(480, 500, 3))
def test_a_sample_of_fields_in_quotes_ends_with_a_record(
    folders: tuple[Path, Path], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, target = folders
    monkeypatch.setattr(raw_sample, "HEAD", size)
    records = [f'{n},{n},4,{n},"one\ntwo, ""three""\nfour"\n' for n in range(100)]
    (raw / "ratings.csv").write_text("a,b,c,d,e\n" + "".join(records))
    sample_files(raw, ["ratings.csv"], target)
    text = (target / "ratings.csv").read_text()
    assert 400 < len(text) <= size
    assert text == "a,b,c,d,e\n" + "".join(records)[: len(text) - 10]
    assert text.endswith('four"\n')


def test_a_sample_of_parquet_has_rows_from_the_start_to_the_end(
    folders: tuple[Path, Path],
) -> None:
    raw, target = folders
    pl.DataFrame({"n": range(1000)}).write_parquet(raw / "ratings.parquet", compression="lz4")
    sample = sample_files(raw, ["ratings.parquet"], target)["ratings.parquet"]
    rows = pl.read_parquet(target / "ratings.parquet")["n"].to_list()
    assert rows == sorted(set(rows))
    assert rows[:50] == list(range(50))
    assert rows[-1] > 700
    assert sample.share == len(rows) / 1000 < 0.2
    assert (sample.size, sample.head_rows) == ((raw / "ratings.parquet").stat().st_size, 50)
    # Blocks of 10 rows begin at every 237th row behind the head, and none after row 990.
    assert rows[50::10] == [50, 287, 524, 761]


def test_a_broken_parquet_file_is_left_to_its_reader(folders: tuple[Path, Path]) -> None:
    raw, target = folders
    (raw / "ratings.parquet").write_bytes(b"PAR1" + b"x" * 2000)
    assert sample_files(raw, ["ratings.parquet"], target)["ratings.parquet"].share == 1


@pytest.mark.parametrize("text", ["no line", '"a line\n in quotes', "a line\n", 'a\n"b"\n"c\n'])
def test_a_text_is_cut_behind_its_last_record(text: str) -> None:
    end = {"no line": 7, '"a line\n in quotes': 18, "a line\n": 7, 'a\n"b"\n"c\n': 6}[text]
    assert raw_sample._last_record_end(text.encode()) == end
