"""A page about a study that opens offline: its trials in time, and the objective by each param."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.search.space import Choice, Range
from stages.common.stage import atomic_write
from stages.reporting.html_page import figure, page, section, table
from stages.reporting.vega import to_svg

WIDTH, HEIGHT = 560, 260
CONFIG = {"background": "white", "axis": {"grid": True}, "point": {"filled": True, "size": 50}}


def trial_rows(trials: list[Any]) -> list[dict[str, Any]]:
    """Return number, value and best value so far of the trials that have a value, and params."""
    rows: list[dict[str, Any]] = []
    for trial in trials:
        if trial.state.name == "COMPLETE":
            best = max(rows[-1]["best"] if rows else trial.value, trial.value)
            row = {"number": trial.number, "value": trial.value, "best": best}
            rows.append(row | {"params": trial.params})
    return rows


def history_chart(rows: list[dict[str, Any]], objective: str) -> dict[str, Any]:
    """Return a Vega-Lite chart of the values in time, with a line of the best so far."""
    x = {"field": "number", "type": "quantitative", "title": "trial", "axis": {"tickMinStep": 1}}
    y = {"type": "quantitative", "title": objective, "scale": {"zero": False}}
    marks = {"best": {"type": "line", "interpolate": "step-after"}, "value": {"type": "point"}}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": [{k: row[k] for k in ("number", *marks)} for row in rows]},
        "encoding": {"x": x},
        "layer": [
            {"mark": mark, "encoding": {"y": {**y, "field": field}}}
            for field, mark in marks.items()
        ],
    }


def param_chart(
    rows: list[dict[str, Any]], objective: str, param: Range | Choice
) -> dict[str, Any]:
    """Return a Vega-Lite chart of the values by those of one param."""
    x: dict[str, Any] = {"field": "x", "title": param.key, "type": "nominal"}
    values = [{"x": str(row["params"][param.key]), "value": row["value"]} for row in rows]
    if isinstance(param, Range):
        x |= {
            "type": "quantitative",
            "scale": {"type": "log"} if param.is_log else {"zero": False},
        }
        values = [{**row, "x": float(row["x"])} for row in values]
    y = {"field": "value", "type": "quantitative", "title": objective, "scale": {"zero": False}}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": values},
        "mark": "point",
        "encoding": {"x": x, "y": y},
    }


def study_page(
    trials: list[Any], name: str, objective: str, space: Sequence[Range | Choice]
) -> str:
    """Return the page of a study.

    Args:
        trials: Trials of Optuna.
        name: Of the study.
        objective: What is maximized.
        space: The params of the search.
    """
    rows = trial_rows(trials)
    sections = []
    if rows:
        chart = to_svg(history_chart(rows, objective), CONFIG)
        text = "Each point is a trial, the line the best so far."
        sections.append(section("Trials in time", figure(chart, text)))
        charts = [
            figure(to_svg(param_chart(rows, objective, param), CONFIG), param.key)
            for param in space
        ]
        sections.append(section("Params", *charts))
    head = ["experiment", "state", objective, *(param.key for param in space)]
    order = sorted(trials, key=lambda trial: (trial.value is None, -(trial.value or 0)))
    cells = [
        [
            f"{name}-{trial.number}",
            trial.state.name.lower(),
            "" if trial.state.name != "COMPLETE" else f"{trial.value:.4f}",
            *(_text(trial.params.get(param.key, "")) for param in space),
        ]
        for trial in order
    ]
    sections.append(section("All trials", table("Trials", head, cells, range(2, len(head)))))
    lead = f"{len(rows)} of {len(trials)} trials have a value of {objective}."
    return page(f"Study {name}", lead, sections)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_page(
    path: Path, trials: list[Any], name: str, objective: str, space: Sequence[Range | Choice]
) -> None:
    """Write `study_page`."""
    with atomic_write(path) as temporary:
        temporary.write_text(study_page(trials, name, objective, space), encoding="utf-8")
