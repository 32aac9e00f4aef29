"""The charts of plots/ as SVG for the report; `dvc plots` fills in the same files by itself."""

import json
import re
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import vl_convert

from stages.common.stage import StageError

VEGA_LITE = "5.21"  # pinned, as the default follows the package
INK = "currentColor"  # text takes the colour of the page around it, in light and dark mode
FAINT = "rgba(128,128,128,0.3)"
THEME = {
    "background": None,
    "font": "sans-serif",
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
        name: Goes in front of every id; unique on the page, letters only.
        title: Says to a screen reader, and on hovering, what is shown.
    """
    svg = re.sub(r'\bid="', f'id="{name}_', svg)
    svg = svg.replace("url(#", f"url(#{name}_").replace('href="#', f'href="#{name}_')
    head, _, body = svg.partition(">")
    width, box = re.search(r'width="(\d+)', head)[1], re.search(r'viewBox="([^"]+)"', head)[1]
    label = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="{box}" role="img" '
        f'aria-label="{label}" style="max-width:{width}px"><title>{label}</title>{body}'
    )


def draw(template: Path, table: pl.DataFrame, x: str, y: str, title: str) -> str:
    """The chart `template` of `table` as inline SVG; equal arguments give equal text."""
    spec = fill(template, table.to_dicts(), x, y)
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, config=THEME, allowed_base_urls=[])
    return as_inline(svg, f"{template.stem}_{re.sub('[^a-z]', '', y)}", title)
