"""The charts of plots/ as SVG for the report; `dvc plots` draws the same files."""

import dataclasses
import json
import re
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from stages.common.stage import StageError
from stages.reporting.vega import to_svg

TEXT_COLOR = "currentColor"  # the text color of the page, in light and dark mode
LINE_COLOR = "rgba(128,128,128,0.3)"
MAX_SCALE = 1.3  # a chart grows by up to this factor, for readable labels on a wide page
THEME = {
    "background": None,
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
    "padding": {"left": 24, "right": 24, "top": 5, "bottom": 5},  # room for fonts wider than Arial
    "view": {"stroke": None},
    "axis": {
        "labelColor": TEXT_COLOR,
        "titleColor": TEXT_COLOR,
        "gridColor": LINE_COLOR,
        "domainColor": LINE_COLOR,
        "tickColor": LINE_COLOR,
        "labelLimit": 260,
    },
    "header": {"labelColor": TEXT_COLOR, "titleColor": TEXT_COLOR, "labelFontSize": 12},
    "legend": {"labelColor": TEXT_COLOR, "titleColor": TEXT_COLOR, "titleLimit": 260},
    "bar": {"color": "#5b8dd6"},
    "point": {"color": "#5b8dd6"},
    "rule": {"color": "#d9822b"},
    "text": {"color": TEXT_COLOR},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of the report."""

    file: str
    """plots/<file>.json draws metrics/plots/<file>.csv."""

    x: str
    """The table's column on the x axis."""

    y: str
    """The table's column on the y axis."""

    title: str
    """The name of the chart, for screen readers and as a tooltip."""

    caption: str
    """The text below the chart."""


CHARTS = {
    "main_metrics": Chart(
        file="main_metrics",
        x="value",
        y="system",
        title="Metrics with 95% intervals",
        caption="95% bootstrap intervals over users. All systems are measured on the same users, "
        "so the difference between two systems may be significant although their intervals "
        "overlap: see the next table.",
    ),
    "recall": Chart(
        file="at_k",
        x="k",
        y="recall",
        title="Recall@k",
        caption="Recall@k: the share of the test targets among the top k recommendations.",
    ),
    "ndcg": Chart(
        file="at_k",
        x="k",
        y="ndcg",
        title="ndcg@k",
        caption="ndcg@k: like recall@k, with more weight on higher ranks.",
    ),
    "curve": Chart(
        file="curves",
        x="epoch",
        y="ndcg@10",
        title="ndcg@10 of the inner_val targets",
        caption="Measured after every epoch on the inner_val targets, which also stop the "
        "training.",
    ),
    "loss": Chart(
        file="curves",
        x="epoch",
        y="loss",
        title="Training loss",
        caption="The retrievers have different loss functions: compare the shapes of the curves, "
        "not their heights.",
    ),
    "slices": Chart(
        file="slices",
        x="recall@10",
        y="value",
        title="Recall@10 by slice",
        caption="Recall@10 by the user's number of positives (activity), by the target's genres, "
        "by whether the target has the same time as the positive before it (tied), by the target's "
        "number of positives, and by whether the models know the user. ± is half the length of the "
        "95% interval, for which two hits and two misses are added.",
    ),
    "accuracy_coverage": Chart(
        file="accuracy_coverage",
        x="coverage@10",
        y="ndcg@10",
        title="Accuracy against coverage",
        caption="Coverage@10: the share of all candidates that are among the top ten of at least "
        "one user.",
    ),
    "long_tail": Chart(
        file="long_tail",
        x="share",
        y="system",
        title="Top ten by popularity decile",
        caption="The share of every popularity decile among all users' top ten: the first decile "
        "has the tenth of the movies with the most positives. The first bar shows the deciles' "
        "shares of all positives.",
    ),
    "beyond_accuracy": Chart(
        file="beyond_accuracy",
        x="value",
        y="system",
        title="Beyond accuracy with 95% intervals",
        caption="The same figures as a chart. Each part has a scale of its own.",
    ),
    "importance": Chart(
        file="importance",
        x="gain_share",
        y="feature",
        title="Feature importance of the rankers",
        caption="The most important features of each ranker, by their share of the gain of all "
        "splits.",
    ),
}


def drop_revisions(spec: Any) -> Any:
    """Return `spec` without the encodings by `rev`: the report shows a single revision.

    A facet that has no other encoding is replaced by the chart inside it.
    """
    if isinstance(spec, list):
        return [drop_revisions(part) for part in spec]
    if not isinstance(spec, dict):
        return spec
    by_revision = [k for k, v in spec.items() if isinstance(v, dict) and v.get("field") == "rev"]
    parts = {k: drop_revisions(v) for k, v in spec.items() if k not in by_revision}
    if parts.get("facet") == {}:
        del parts["facet"]
        parts |= parts.pop("spec")
    return parts


def fill_template(template: Path, rows: list[dict[str, Any]], x: str, y: str) -> dict[str, Any]:
    """Return the Vega-Lite chart of `template` for `rows`, with the columns `x` and `y`.

    Raises:
        StageError: The template is missing or not valid JSON.
    """
    anchors = {"TITLE": "", "X_LABEL": x, "Y_LABEL": y, "X": x, "Y": y}
    try:
        text = template.read_text(encoding="utf-8")
        for name, value in anchors.items():
            text = text.replace(f"<DVC_METRIC_{name}>", value)
        spec = drop_revisions(json.loads(text))
    except FileNotFoundError:
        raise StageError(f"{template}: not found; restore it with `git checkout`") from None
    except ValueError as error:
        raise StageError(f"{template}: is not valid JSON ({error}); correct it") from None
    spec["data"]["values"] = rows
    return spec


def inline_svg(svg: str, name: str, title: str) -> str:
    """Return the text of an SVG file as an element of a page: scalable, titled, with unique ids.

    Args:
        svg: The text of the file.
        name: The prefix of all ids; unique on the page; letters, digits and `_`.
        title: The name of the chart, for screen readers and as a tooltip.
    """
    # Vega numbers the ids of all charts in one sequence. Equal charts must have equal ids.
    for number, old in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg))):
        new = f"{name}_{number}"
        svg = svg.replace(f'id="{old}"', f'id="{new}"').replace(f"(#{old})", f"(#{new})")
        svg = svg.replace(f'href="#{old}"', f'href="#{new}"')
    head, _, body = svg.partition(">")
    width, box = re.search(r'width="(\d+)', head)[1], re.search(r'viewBox="([^"]+)"', head)[1]
    max_width = round(int(width) * MAX_SCALE)
    label = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" '
        f'aria-label="{label}" style="max-width:{max_width}px"><title>{label}</title>{body}'
    )


def draw(name: str, chart: Chart, table: pl.DataFrame, templates: Path) -> str:
    """Draw `chart` as inline SVG; equal arguments give equal text.

    Args:
        name: The name of the chart, unique on the page.
        chart: The chart to draw.
        table: The rows to show.
        templates: The folder plots/.
    """
    spec = fill_template(templates / f"{chart.file}.json", table.to_dicts(), chart.x, chart.y)
    return inline_svg(to_svg(spec, THEME), re.sub(r"\W", "_", name), chart.title)
