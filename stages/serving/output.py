"""Write recommendations for people, as a table, and for programs, as JSON, CSV or parquet."""

import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from stages.common.stage import atomic_write
from stages.serving.raw_ids import id_suffix

MACHINE_FORMATS = ("json", "csv", "parquet")
MAX_WIDTH = 100  # cells of a printed line
GENRES_WIDTH = 32
GAP = "  "  # between two columns
LIST_SEPARATOR = "|"  # between the values of a list, in CSV


def cells(text: str) -> int:
    """Return how many cells of a terminal `text` takes: CJK characters have two, accents none."""
    widths = {"W": 2, "F": 2}
    return sum(
        0 if unicodedata.combining(c) else widths.get(unicodedata.east_asian_width(c), 1)
        for c in text
    )


def fit(text: str, width: int, end: str = "") -> str:
    """Return `text` and `end` in at least `width` cells; a longer `text` is cut, `end` never.

    Characters that move the cursor become spaces.
    """
    text = "".join(c if c.isprintable() else " " for c in text)
    if cells(text + end) > width:
        while text and cells(text + end) > width - 3:
            text = text[:-1]
        text += "..."
    return text + end + " " * (width - cells(text + end))


def format_table(
    recommendations: pl.DataFrame, movie_ids: pl.DataFrame, explain: bool = False
) -> str:
    """Return SERVED rows of one person as lines of text, with raw ids in square brackets.

    A line has up to `MAX_WIDTH` cells: long titles and genres are cut. Ids are not, and a longer
    one makes its column wider. A movie without a title has its id as title.

    Args:
        recommendations: SERVED.
        movie_ids: movie_id and raw_id.
        explain: Whether to add lines to each movie: its explanation, and the generators with the
            movie's rank there.
    """
    raw_ids = dict(movie_ids.select("movie_id", "raw_id").iter_rows())
    rows = recommendations.to_dicts()
    ranks = ["#", *(str(row["rank"]) for row in rows)]
    genres = ["genres", *("|".join(row["genres"]) for row in rows)]
    scores = ["score", *(f"{row['score']:.3f}" for row in rows)]
    titles = [("title", ""), *(_title_parts(row, "movie_id", "title", raw_ids) for row in rows)]
    rank_width, score_width = (max(map(len, column)) for column in (ranks, scores))
    genres_width = min(max(map(cells, genres)), GENRES_WIDTH)
    room = MAX_WIDTH - rank_width - score_width - genres_width - 3 * len(GAP)
    title_width = max(
        min(max(cells(title + end) for title, end in titles), room),
        *(cells(end) + 3 for _, end in titles),
    )
    columns = [
        [fit(rank, rank_width) for rank in ranks],
        [fit(title, title_width, end) for title, end in titles],
        [fit(text, genres_width) for text in genres],
        [score.rjust(score_width) for score in scores],
    ]
    head, *lines = map(GAP.join, zip(*columns))
    if not explain:
        return "\n".join([head, *lines])
    indent = " " * (rank_width + len(GAP))
    explained = ([line, *_reasons(row, raw_ids, indent)] for line, row in zip(lines, rows))
    return "\n".join([head, *(text for texts in explained for text in texts)])


def _reasons(row: dict, raw_ids: dict[int, str], indent: str) -> list[str]:
    """Return the lines below the movie of a row of SERVED, each with `indent` before it."""
    if row["explanation"]:
        start = f"{indent}because you liked "
        parts = _title_parts(row, "explanation_id", "explanation", raw_ids)
        reason = start + fit(parts[0], MAX_WIDTH - len(start), parts[1]).rstrip()
    else:
        reason = f"{indent}because it is popular"
    # No line ends between a generator and its rank: textwrap does not break at this space.
    generators = ", ".join(text.replace(" ", "\xa0") for text in row["generators"])
    lines = textwrap.wrap(
        f"found by (rank there): {generators}",
        MAX_WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
    )
    return [reason, *(line.replace("\xa0", " ") for line in lines)]


def _title_parts(row: dict, key: str, title: str, raw_ids: dict[int, str]) -> tuple[str, str]:
    return row[title], id_suffix(row[title], raw_ids[row[key]])


def json_lines(batches: Iterable[pl.DataFrame]) -> Iterator[str]:
    """Yield the parts of a JSON array with a line for each row."""
    start = "[\n"
    for batch in batches:
        if batch.height:
            yield start + batch.write_ndjson().removesuffix("\n").replace("\n", ",\n")
            start = ",\n"
    yield "\n]\n" if start == ",\n" else "[]\n"


def csv_lines(batches: Iterable[pl.DataFrame], schema: pl.Schema) -> Iterator[str]:
    """Yield the parts of a CSV file with a header; the values of a list are joined by `|`."""
    yield ",".join(schema.names()) + "\n"
    lists = pl.col(pl.List(pl.String)).list.join(LIST_SEPARATOR)
    for batch in batches:
        yield batch.with_columns(lists).write_csv(include_header=False)


def write_rows(
    batches: Iterable[pl.DataFrame], stream: BinaryIO, kind: str, schema: pl.Schema
) -> None:
    """Write rows in one of the `MACHINE_FORMATS`, with one batch in memory at a time, in UTF-8.

    Args:
        batches: Tables of the schema.
        stream: An open file; for parquet, one that can tell its position.
        kind: The format.
        schema: The names and types of all columns.
    """
    if kind == "parquet":
        oldest = pl.CompatLevel.oldest()  # plain texts and lists, which every reader knows
        to_arrow: Callable[[pl.DataFrame], pa.Table] = partial(
            pl.DataFrame.to_arrow, compat_level=oldest
        )
        with pq.ParquetWriter(stream, to_arrow(pl.DataFrame(schema=schema)).schema) as writer:
            for batch in batches:
                writer.write_table(to_arrow(batch))
        return
    for text in json_lines(batches) if kind == "json" else csv_lines(batches, schema):
        stream.write(text.encode())


def write_file(batches: Iterable[pl.DataFrame], path: Path, kind: str, schema: pl.Schema) -> None:
    """Write rows into a file; if the run is interrupted, an existing file stays as it is."""
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        write_rows(batches, stream, kind, schema)
