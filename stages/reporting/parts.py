"""The parts of the report as HTML, from tables and values that are already read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import polars as pl

from stages.evaluation.accuracy import MAIN_METRICS
from stages.reporting.html_page import Html, element, paragraph, table

INTRODUCTIONS = {
    "results": "Every test user counts, all movies compete, and no model has seen the targets. The "
    "best value of a column is bold.",
    "differences": "With 95% paired-bootstrap intervals over users. ▲ marks what is better, ▼ what "
    "is worse, after Holm's correction for the number of comparisons (p < .05).",
    "systems": "In the order of the pipeline: generators list movies for a user, rankers order "
    "what generators have listed. A retriever is a generator with a trained tower.",
    "beyond": "The first ten movies of the lists, with 95% bootstrap intervals over users: how "
    "rare they are, in bits (novelty); how much more popular they are than the user's own "
    "positives (popularity lift); how much they differ from each other, by genres and by vectors "
    "(diversity); how far their genres are from the user's (miscalibration); whether they hold a "
    "target that popularity lacks (serendipity), or a movie that the user rates low later "
    "(disliked).",
    "data": "The hashes identify the version of the raw data that this report is computed from.",
    "examples": "A user with few, one with average and one with many positives. Each column is the "
    "list of one step. Below a title are its genres and its ranks in the lists to the left (-: not "
    "in that list). The users are chosen by their number of positives; the test targets are not "
    "shown.",
    "parameters": "All of params.yaml. Of a path on this machine, only the last part is shown.",
    "timings": "Seconds of the longest stages in a full run of this data set on two cores, from "
    "benchmarks/timings.csv. The times of this run are in the output of dvc repro. They are "
    "not shown here, because equal inputs must give an equal page.",
}


def introduction(section: str) -> Html:
    """Return the paragraph at the head of a section."""
    return paragraph(INTRODUCTIONS[section])


def board_table(board: Mapping[str, Mapping[str, float]]) -> Html:
    """Return the leaderboard; the best value of a column is marked.

    Args:
        board: The metrics by system.
    """
    metrics = [name for name in next(iter(board.values())) if name != "users"]
    maxima = {name: max(row[name] for row in board.values()) for name in metrics}
    rows = []
    for system, row in board.items():
        classes = ["best" if row[name] == maxima[name] else "value" for name in metrics]
        cells = [element("span", f"{row[m]:.4f}", class_=c) for m, c in zip(metrics, classes)]
        rows.append([system, *cells])
    return table("Leaderboard", ["system", *metrics], rows, range(1, len(metrics) + 1))


def interval_table(intervals: pl.DataFrame, baseline: str) -> Html:
    """Return every system's difference to the baseline, with 95% intervals.

    Args:
        intervals: system, against, metric, difference, low, high, significant.
        baseline: A system of the column `against`.
    """
    rows: dict[str, dict[str, Any]] = {}
    for row in intervals.filter(pl.col("against") == baseline).iter_rows(named=True):
        text = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        mark, style = ("▲", "better") if row["difference"] > 0 else ("▼", "worse")
        is_mark = row["significant"]
        cell = element("span", f"{mark} {text}" if is_mark else text, class_=style * is_mark)
        rows.setdefault(row["system"], {})[row["metric"]] = cell
    lines = [[system, *(cells.get(m, "") for m in MAIN_METRICS)] for system, cells in rows.items()]
    title = f"Difference to {baseline}"
    return table(title, ["system", *MAIN_METRICS], lines, range(1, len(MAIN_METRICS) + 1))


def verdict_box(sentences: Sequence[str], served: str) -> Html:
    """Return the sentences of the verdict, and why the served ranker is the served one."""
    return element("div", *map(paragraph, [*sentences, served]), class_="verdict")


def system_table(rows: Sequence[tuple[str, str, str]]) -> Html:
    """Return name, kind and description of every system."""
    return table("Systems", ["system", "kind", "what it is"], rows)


def quality_table(qualities: pl.DataFrame) -> Html:
    """Return the qualities of every system's lists, with 95% intervals.

    Args:
        qualities: system, metric, value, low, high.
    """
    metrics = qualities["metric"].unique(maintain_order=True).to_list()
    rows: dict[str, dict[str, str]] = {}
    for row in qualities.iter_rows(named=True):
        text = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        rows.setdefault(row["system"], {})[row["metric"]] = text
    lines = [[system, *(cells[m] for m in metrics)] for system, cells in rows.items()]
    numbers = range(1, len(metrics) + 1)
    return table("Beyond accuracy", ["system", *metrics], lines, numbers)


def file_table(files: list[tuple[str, int, str]]) -> Html:
    """Return the table of the raw files.

    Args:
        files: Name, size in bytes and SHA-256 of each file.
    """
    rows = [(name, f"{size:,}", element("code", digest)) for name, size, digest in files]
    return table("Raw files", ["raw file", "bytes", "SHA-256"], rows, [1])


def statistics(**counts: Mapping[str, Any]) -> Html:
    """Return one table per argument, side by side; the argument's name is the table's title.

    Values are numbers, but for the sentences `notices`, which get a paragraph each.
    """
    tables, sentences = [], []
    for name, values in counts.items():
        rows = [
            (key.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:g}")
            for key, value in values.items()
            if key != "notices"
        ]
        tables.append(table(f"Statistics: {name}", [name, "value"], rows, [1]))
        sentences += values.get("notices", [])
    return element("div", element("div", *tables, class_="beside"), *map(paragraph, sentences))


def timing_table(timings: pl.DataFrame, count: int) -> Html:
    """Return the table of the longest stages, with the sum of the others and the total.

    Args:
        timings: stage, seconds.
        count: The number of stages that have a row.
    """
    timings = timings.sort("seconds", "stage", descending=[True, False])
    others = timings[count:]
    rows = [*timings[:count].iter_rows(), (f"{others.height} others", others["seconds"].sum())]
    rows += [("total", timings["seconds"].sum())]
    cells = [(stage, f"{seconds:.1f}") for stage, seconds in rows]
    return table("Seconds by stage", ["stage", "seconds"], cells, [1])


def leaves(value: Any, key: str) -> list[tuple[str, Any]]:
    """Return the dotted key and the value of every parameter at or below `key`.

    Lists and empty blocks are values.
    """
    if isinstance(value, dict) and value:
        return [pair for name, part in value.items() for pair in leaves(part, f"{key}.{name}")]
    return [(key, value)]


def flatten(value: Any, key: str) -> list[tuple[str, str]]:
    """Return `leaves` with the values as text, without empty blocks."""
    pairs = []
    for name, leaf in leaves(value, key):
        items = leaf if isinstance(leaf, list) else [leaf]
        texts = [item if isinstance(item, str) else json.dumps(item) for item in items]
        pairs += [(name, ", ".join(texts))] if leaf != {} else []
    return pairs


def without_folders(text: str) -> str:
    """Return an absolute path as its last part, and any other text as it is."""
    path = PurePath(text)
    return f"…/{path.name}" if path.is_absolute() else text


def parameters(sections: Mapping[str, Any]) -> list[Html]:
    """Return one folded table per section of params.yaml."""
    parts = []
    for name, value in sections.items():
        flat = flatten(value, name)
        pairs = [(element("code", key), without_folders(text)) for key, text in flat]
        rows = table(f"Parameters of {name}", ["parameter", "value"], pairs)
        parts.append(element("details", element("summary", f"{name} ({len(pairs)})"), rows))
    return parts


def movie(title: str | None, genres: list[str] | None, ranks: str = "") -> Html:
    """Return a title above its genres and its ranks in other lists."""
    notes = [note for note in (" · ".join(genres or []), ranks) if note]
    return element("div", title or "(no title)", *(element("small", note) for note in notes))


def example(
    user: str, positives: int, newest: pl.DataFrame, heads: dict[str, pl.DataFrame]
) -> Html:
    """Return a user's newest positives beside the recommendations of each step.

    Args:
        user: The user's id in the raw data.
        positives: The number of the user's positives.
        newest: From `stages.reporting.examples.newest_positives`.
        heads: From `stages.reporting.examples.step_heads`.
    """
    columns = {"liked last": [movie(*row) for row in newest.iter_rows()]}
    for step, head in heads.items():
        steps_before = [name.removeprefix("rank_") for name in head.columns[3:]]
        columns[step] = [
            movie(title, genres, ", ".join(f"{s} {r or '-'}" for s, r in zip(steps_before, ranks)))
            for _, title, genres, *ranks in head.iter_rows()
        ]
    rows = [
        [i + 1, *(cells[i] if i < len(cells) else "" for cells in columns.values())]
        for i in range(max(map(len, columns.values())))
    ]
    title = f"User {user}, who likes {positives} movies"
    return Html(element("h3", title) + table(title, ["#", *columns], rows, [0]))
