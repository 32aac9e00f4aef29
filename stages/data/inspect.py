"""Say how a folder of raw files would be read, before a run.

    python -m stages.data.inspect /path/to/folder

It reads as the stages `download` and `clean` do, with the params.yaml of the current folder, but
only a sample of large files; it is no stage of the pipeline and writes nothing.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from stages import clean
from stages.common.console import standard_output
from stages.common.params import load_params, read_section
from stages.common.stage import StageError
from stages.data import raw_text
from stages.data.param_hints import Scale, guess_scale, params_block
from stages.data.raw_columns import MOVIE_FIELDS, RATING_FIELDS, Columns, match_field
from stages.data.raw_formats import RawFiles, find_files
from stages.data.raw_readers import read_header, read_ratings
from stages.data.raw_sample import Sample, sample_files
from stages.data.raw_times import LATEST_TIME, to_seconds
from stages.data.raw_values import to_numbers

KINDS = {
    "table": "tables with named columns",
    "dat": "MovieLens `.dat` files",
    "ml-100k": "MovieLens 100K files",
    "recbole": "RecBole atomic files",
}
SEPARATORS = {"\t": "tab", "dat": "'::'", "ml-100k": "tab"}
NUM_ROWS = 3  # the first rows of a file, which are printed
MAX_VALUE, MAX_DISTINCT = 24, 12  # characters of a value; ratings that are listed
UNITS = {10**17: "nanoseconds", 10**14: "microseconds", 10**11: "milliseconds", 0: "seconds"}
PLACE = re.compile(r"\b((?:data row|line) )(\d+)\b")


def inspect_folder(folder: Path) -> Iterator[str]:
    """Yield lines that say how the files of `folder` are read and which params they need.

    Raises:
        StageError: A run would end with this error.
    """
    if not folder.is_dir():
        raise StageError(f"{folder}: is no folder; give the folder of the ratings file")
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    files = find_files(names, str(folder))
    used = [name for name in (files.ratings, files.movies) if name]
    with tempfile.TemporaryDirectory() as scratch:
        samples = sample_files(folder, used, Path(scratch))
        try:
            yield from _describe_files(files, samples, Path(scratch))
            others = [name for name in names if name not in used]
            yield from [f"not read: {', '.join(others)}"] if others else []
            yield from _describe_values(files, samples, Path(scratch), folder)
        except StageError as error:
            raise StageError(_in_folder(str(error), scratch, folder, samples)) from None


def _in_folder(message: str, scratch: str, folder: Path, samples: dict[str, Sample]) -> str:
    """Return a message on files of the sample as one on the files of `folder`.

    The numbers of rows behind the head of a sample are not those of the file, so they are left out.
    """
    for name, sample in samples.items():
        match = PLACE.search(message)
        if match and f"{Path(scratch) / name}" in message and int(match[2]) > sample.head_rows:
            message = message.replace(match[0], f"a {match[1].strip()}")
    return message.replace(scratch, str(folder))


def _describe_files(files: RawFiles, samples: dict[str, Sample], folder: Path) -> Iterator[str]:
    """Yield the format, the size and the columns of each file."""
    yield f"format: {KINDS[files.kind]}"
    columns = load_params(Columns, "data.columns")
    for role, name, fields in (
        ("ratings", files.ratings, RATING_FIELDS + (() if files.movies else MOVIE_FIELDS[1:])),
        ("movies", files.movies, MOVIE_FIELDS),
    ):
        if not name:
            yield f"{role}: no file, so the catalogue consists of the rated movies"
            continue
        path = folder / name
        separator = _separator(path, files.kind)
        size = f"{samples[name].size / 1e6:,.1f} MB"
        yield f"{role}: {', '.join([name, size, *([separator] if separator else [])])}"
        if files.kind in ("table", "recbole"):
            yield from _describe_columns(path, columns, fields)


def _separator(path: Path, kind: str) -> str:
    if path.suffix == ".parquet":
        return ""
    if kind in SEPARATORS:
        return f"separator {SEPARATORS[kind]}" if path.suffix != ".item" else "separator '|'"
    separator = raw_text.header_options(path, has_quotes=False)["separator"]
    return f"separator {SEPARATORS.get(separator, repr(separator))}"


def _describe_columns(path: Path, columns: Columns, fields: tuple[str, ...]) -> Iterator[str]:
    """Yield a line for each column: its name, its role and the values of the first rows."""
    roles = {match_field(read_header(path), columns, field, path): field for field in fields}
    if path.suffix == ".parquet":
        rows = pl.read_parquet(path, n_rows=NUM_ROWS)
    else:
        options = raw_text.header_options(path, has_quotes=path.suffix != ".item")
        rows = raw_text.read_first_rows(path, NUM_ROWS, **options)
    names = [_shorten(name) for name in rows.columns]
    width = max(map(len, names))
    for name, column in zip(names, rows):
        values = ", ".join(_shorten(value) for value in column.to_list())
        yield f"  {name.ljust(width)}  {roles.get(column.name, '(not read)').ljust(10)}  {values}"


def _shorten(value: Any) -> str:
    text = " ".join(str("" if value is None else value).split())
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."


def _describe_values(
    files: RawFiles, samples: dict[str, Sample], sample_folder: Path, folder: Path
) -> Iterator[str]:
    """Yield the number of rows, the scale, the times, and the params that a run needs."""
    columns = load_params(Columns, "data.columns")
    params = load_params(clean.Params, "clean")
    raw = read_ratings(sample_folder, files, columns)
    sample = samples[files.ratings]
    if sample.share < 1:
        number = _rounded(raw.height / sample.share)
        yield f"rows: about {number:,}; what follows is of a sample of {raw.height:,}"
    else:
        yield f"rows: {raw.height:,}"
    yield f"times: {_describe_times(raw['timestamp'], str(sample_folder / files.ratings))}"
    scale = None
    if "rating" in raw.columns:
        values = to_numbers(raw["rating"]).drop_nulls()
        yield f"ratings: {_describe_ratings(values)}"
        present = params.model_dump(exclude={"max_dropped"})
        scale = guess_scale(values, **present, is_sample=sample.share < 1)
    else:
        yield "ratings: no such column, so every row is a positive"
    changed = params.model_copy(update=scale.clean if scale else {})
    source = clean.read_source(sample_folder, changed, columns)
    figures = clean.statistics(source.ratings, source.movies, source.dropped)
    counts = ", ".join(f"{name}: {figures[name]:,}" for name in ("users", "movies", "genres"))
    yield counts
    yield from (f"notice: {sentence}" for sentence in clean.describe(source, figures))
    yield from _describe_params(folder, scale)


def _rounded(rows: float) -> int:
    """Return an estimate with two significant digits."""
    return int(float(f"{rows:.1e}"))


def _describe_times(times: pl.Series, where: str) -> str:
    seconds = to_seconds(times, where).drop_nulls()
    if not len(seconds):
        return "none that can be read"
    first, last = seconds.min(), seconds.max()
    is_number = to_numbers(times).count() >= len(seconds)
    unit = next((unit for least, unit in UNITS.items() if last >= least), "seconds")
    unit = unit if is_number else "dates"
    if last > LATEST_TIME or first < 0:
        return f"{unit}, {first} to {last}"
    days = pl.from_epoch(pl.Series([first, last]), time_unit="s").dt.strftime("%Y-%m-%d")
    return f"{unit}{' since 1970' if is_number else ''}, {days[0]} to {days[1]}"


def _describe_ratings(ratings: pl.Series) -> str:
    if not len(ratings):
        return "none that can be read"
    counts = ratings.value_counts(sort=True).rows()
    span = f"{ratings.min():g} to {ratings.max():g}"
    shares = [f"{value:g} ({count / len(ratings):.0%})" for value, count in counts[:MAX_DISTINCT]]
    more = f" and {len(counts) - MAX_DISTINCT:,} more" if len(counts) > MAX_DISTINCT else ""
    return f"{span}; most often {', '.join(shares)}{more}"


def _describe_params(folder: Path, scale: Scale | None) -> Iterator[str]:
    """Yield the sections of params.yaml that differ from the present ones."""
    source = read_section("data.source")
    has_source = os.path.isdir(source) and os.path.samefile(source, folder)
    changes = {} if has_source else {"data.source": str(folder.resolve())}
    if scale is not None:
        changes |= {f"clean.{key}": value for key, value in scale.clean.items()}
        changes["positives.min_rating"] = scale.positive
    if not changes:
        yield "params: params.yaml as it is"
        return
    yield "params: replace these sections of params.yaml"
    yield ""
    yield params_block(changes)
    yield from (f"# {sentence}" for sentence in (scale.notes if scale else []))


@standard_output()
def main() -> None:
    """Print how the folder would be read, or the error of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.data.inspect",
        description="Say how a folder of raw files would be read, and which params it needs.",
    )
    parser.add_argument("folder", type=Path, help="the folder of the ratings file")
    try:
        for line in inspect_folder(parser.parse_args().folder):
            sys.stdout.write(f"{line}\n")
    except StageError as error:
        sys.stdout.flush()
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
