"""The charts of plots/ as SVG for the report; `dvc plots` fills in the same files by itself."""

import dataclasses
import json
import re
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import vl_convert

from stages.common.stage import StageError

VEGA_LITE = "6.4"  # pinned, as the default follows the package; plots/ says v6 too
INK = "currentColor"  # text takes the colour of the page around it, in light and dark mode
FAINT = "rgba(128,128,128,0.3)"
LARGER = 1.3  # a chart may grow by this, for readable labels on a wide page
THEME = {
    "background": None,
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
    "padding": {"left": 24, "right": 24, "top": 5, "bottom": 5},  # for fonts wider than Arial
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": FAINT,
        "domainColor": FAINT,
        "tickColor": FAINT,
        "labelLimit": 260,
    },
    "header": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12},
    "legend": {"labelColor": INK, "titleColor": INK, "titleLimit": 260},
    "bar": {"color": "#5b8dd6"},
    "point": {"color": "#5b8dd6"},
    "rule": {"color": "#d9822b"},
    "text": {"color": INK},
}


@dataclasses.dataclass(frozen=True)
class Chart:
    """A file of plots/ without its ending, the table and its columns, and what is shown."""

    template: str
    table: str
    x: str
    y: str
    title: str


CHARTS = {
    "scores": Chart("scores", "scores", "value", "system", "Figures with 95% intervals"),
    "recall": Chart("at_k", "at_k", "k", "recall", "Recall in the first k places"),
    "ndcg": Chart("at_k", "at_k", "k", "ndcg", "ndcg of the first k places"),
    "curve": Chart("curves", "curves", "epoch", "ndcg@10", "ndcg@10 of the early targets"),
    "loss": Chart("curves", "curves", "epoch", "loss", "Training loss"),
    "slices": Chart("slices", "slices", "recall@10", "value", "Recall@10 by slice of the targets"),
    "balance": Chart("balance", "balance", "coverage@10", "ndcg@10", "Accuracy against coverage"),
    "tail": Chart("long_tail", "long_tail", "share", "system", "First ten places by popularity"),
}


def importance(system: str) -> Chart:
    """The chart of a ranker's features; its table is named like the ranker's system."""
    return Chart("importance", system, "gain_share", "feature", f"Features of {system}")


def without_revisions(spec: Any) -> Any:
    """`spec` without the encodings by revision, of which the report has only one."""
    if isinstance(spec, list):
        return [without_revisions(part) for part in spec]
    if not isinstance(spec, dict):
        return spec
    by_revision = [k for k, v in spec.items() if isinstance(v, dict) and v.get("field") == "rev"]
    kept = {k: without_revisions(v) for k, v in spec.items() if k not in by_revision}
    if kept.get("facet") == {}:
        del kept["facet"]
        kept |= kept.pop("spec")
    return kept


def fill(template: Path, rows: list[dict[str, Any]], x: str, y: str) -> dict[str, Any]:
    """The Vega-Lite chart of `template` for `rows`, with the columns `x` and `y`.

    Raises:
        StageError: The template is missing or no JSON.
    """
    anchors = {"TITLE": "", "X_LABEL": x, "Y_LABEL": y, "X": x, "Y": y}
    try:
        text = template.read_text(encoding="utf-8")
        for name, value in anchors.items():
            text = text.replace(f"<DVC_METRIC_{name}>", value)
        spec = without_revisions(json.loads(text))
    except FileNotFoundError:
        raise StageError(f"{template}: not found; restore it with `git checkout`") from None
    except ValueError as error:
        raise StageError(f"{template}: is not valid JSON ({error}); correct it") from None
    spec["data"]["values"] = rows
    return spec


def as_inline(svg: str, name: str, title: str) -> str:
    """An SVG file's text as a part of a page: it scales, has a title and ids of its own.

    Args:
        svg: What the converter made.
        name: Goes into every id; unique on the page, letters, digits and `_`.
        title: Says to a screen reader, and on hovering, what is shown.
    """
    # Vega counts its ids on from chart to chart, so they are numbered anew.
    for number, old in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg))):
        new = f"{name}_{number}"
        svg = svg.replace(f'id="{old}"', f'id="{new}"').replace(f"(#{old})", f"(#{new})")
        svg = svg.replace(f'href="#{old}"', f'href="#{new}"')
    head, _, body = svg.partition(">")
    width, box = re.search(r'width="(\d+)', head)[1], re.search(r'viewBox="([^"]+)"', head)[1]
    widest = round(int(width) * LARGER)
    label = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" '
        f'aria-label="{label}" style="max-width:{widest}px"><title>{label}</title>{body}'
    )


def draw(name: str, chart: Chart, table: pl.DataFrame, templates: Path) -> str:
    """`chart` of `table` as inline SVG; equal arguments give equal text.

    Args:
        name: Of the chart; unique on the page.
        chart: What to draw.
        table: Its rows.
        templates: The folder plots/.
    """
    spec = fill(templates / f"{chart.template}.json", table.to_dicts(), chart.x, chart.y)
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, config=THEME, allowed_base_urls=[])
    return as_inline(svg, re.sub(r"\W", "_", name), chart.title)
