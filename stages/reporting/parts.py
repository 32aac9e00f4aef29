"""The parts of the report as HTML, each from tables and figures that are already read."""

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from stages.metrics import COMPARED
from stages.reporting.html_page import Html, element, paragraph, table

Board = Mapping[str, Mapping[str, float]]  # figures by system


def board_table(board: Board) -> Html:
    """All systems and figures; the best value of a column is marked."""
    names = [name for name in next(iter(board.values())) if name != "users"]
    top = {name: max(row[name] for row in board.values()) for name in names}
    rows = []
    for system, row in board.items():
        kinds = ["best" if row[name] == top[name] else "value" for name in names]
        cells = [element("span", f"{row[n]:.4f}", class_=k) for n, k in zip(names, kinds)]
        rows.append([system, *cells])
    return table("Leaderboard", ["system", *names], rows, range(1, len(names) + 1))


def interval_table(intervals: pl.DataFrame, against: str) -> Html:
    """Every system's difference to the system `against`, with 95% intervals.

    Args:
        intervals: system, against, metric, difference, low, high, real.
        against: The yardstick.
    """
    rows: dict[str, dict[str, Any]] = {}
    for row in intervals.filter(pl.col("against") == against).iter_rows(named=True):
        text = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        cell = element("span", text, class_="real" if row["real"] else "value")
        rows.setdefault(row["system"], {})[row["metric"]] = cell
    lines = [[system, *(cells.get(m, "") for m in COMPARED)] for system, cells in rows.items()]
    title = f"Difference to {against}"
    return table(title, ["system", *COMPARED], lines, range(1, len(COMPARED) + 1))


def file_table(files: list[tuple[str, int, str]]) -> Html:
    """Name, size and hash of the raw files."""
    rows = [(name, f"{size:,}", element("code", code)) for name, size, code in files]
    return table("Raw files", ["raw file", "bytes", "SHA-256"], rows, [1])


def statistics(**counts: Mapping[str, float]) -> Html:
    """Tables of counts beside each other, whole numbers with thousands apart."""
    tables = []
    for name, values in counts.items():
        rows = [
            (key.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:g}")
            for key, value in values.items()
        ]
        tables.append(table(f"Statistics: {name}", [name, ""], rows, [1]))
    return element("div", *tables, class_="beside")


def timing_table(timings: pl.DataFrame, shown: int) -> Html:
    """The `shown` longest stages, and all others together.

    Args:
        timings: stage, seconds.
        shown: How many stages have a row of their own.
    """
    ordered = timings.sort("seconds", "stage", descending=[True, False])
    rest = ordered[shown:]
    rows = [*ordered[:shown].iter_rows(), (f"{rest.height} others", rest["seconds"].sum())]
    rows += [("together", ordered["seconds"].sum())]
    cells = [(stage, f"{seconds:.1f}") for stage, seconds in rows]
    return table("Seconds by stage", ["stage", "seconds"], cells, [1])


def flat(value: Any, key: str) -> list[tuple[str, str]]:
    """Dotted key and value of every parameter at or below `key`."""
    if isinstance(value, dict):
        return [pair for name, part in value.items() for pair in flat(part, f"{key}.{name}")]
    texts = [part if isinstance(part, str) else json.dumps(part) for part in as_list(value)]
    return [(key, ", ".join(texts))]


def as_list(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def parameters(sections: Mapping[str, Any]) -> list[Html]:
    """Every setting, folded by section of params.yaml."""
    parts = []
    for name, value in sections.items():
        pairs = [(element("code", key), text) for key, text in flat(value, name)]
        folded = table(f"Parameters of {name}", ["parameter", "value"], pairs)
        parts.append(element("details", element("summary", f"{name} ({len(pairs)})"), folded))
    return parts


def movie(title: str | None, genres: list[str] | None, places: str = "") -> Html:
    """A title above its genres and its places in other lists."""
    notes = [note for note in (" · ".join(genres or []), places) if note]
    return element("div", title or "(no title)", *(element("small", note) for note in notes))


def example(user: int, liked: int, newest: pl.DataFrame, heads: dict[str, pl.DataFrame]) -> Html:
    """What one user liked beside what each step of the chain recommends to them.

    Args:
        user: The user's id.
        liked: Number of their likings.
        newest: title, genres of the last of them.
        heads: Of `stages.reporting.examples.chain`.
    """
    columns = {"liked last": [movie(*row) for row in newest.iter_rows()]}
    for step, head in heads.items():
        earlier = [name.removeprefix("rank_") for name in head.columns[3:]]
        columns[step] = [
            movie(title, genres, ", ".join(f"{s} {r or '-'}" for s, r in zip(earlier, ranks)))
            for _, title, genres, *ranks in head.iter_rows()
        ]
    rows = [
        [i + 1, *(cells[i] if i < len(cells) else "" for cells in columns.values())]
        for i in range(max(map(len, columns.values())))
    ]
    title = f"User {user}, who likes {liked} movies"
    return Html(element("h3", title) + table(title, ["#", *columns], rows, [0]))


def introduction(text: str) -> Html:
    """A paragraph of `TEXTS`."""
    return paragraph(TEXTS[text])


TEXTS = {
    "results": "Every user counts, the whole catalogue competes, and no model has seen the "
    "target. The best value of a column is bold.",
    "scores": "95% bootstrap intervals over users. All systems are measured on the same users, "
    "so two intervals may overlap where the difference is real: see the next table.",
    "differences": "With 95% paired-bootstrap intervals over users; "
    "coloured where 0 is outside of the interval.",
    "data": "The hashes name the version of the raw data that all figures here come from.",
    "pipeline": "The stages of dvc.yaml, from top to bottom; x4: a stage with four variants. "
    "Edges that follow from others are left out.",
    "recall": "Recall@k: the share of the test targets among the first k recommendations.",
    "ndcg": "Ndcg@k: the same with more weight on the first places.",
    "curve": "Measured after every epoch on the early targets, which also stop the training.",
    "loss": "Training losses are of different kinds: compare shapes, not heights.",
    "slices": "Recall@10 by the user's number of likings, by the target's genres, by whether the "
    "target's time equals that of the liking before it, and by how many users liked it before.",
    "balance": "Coverage@10: the share of all candidates that stand in the first ten places of "
    "at least one user.",
    "tail": "Who gets the first ten places: movies in tenths by their number of likings. The "
    "first bar shows the likings themselves.",
    "importance": "Share of the gain of all splits in the trees of {}.",
    "examples": "A user with few, one with average and one with many likings. Each column is the "
    "list of one step; below a title stand its genres and its places in the lists to the left "
    "(-: not in that list). Users are chosen by their number of likings; targets are not shown.",
    "parameters": "All of params.yaml.",
    "timings": "Seconds of the longest stages in one full run of the default data set on two "
    "cores, from benchmarks/timings.csv. What this run took is in what dvc repro printed: a page "
    "that equal inputs make equal cannot know it.",
}
