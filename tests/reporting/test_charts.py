import json
import re
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from stages.common.params import YAML
from stages.common.stage import StageError
from stages.reporting.charts import CHARTS, Chart, draw, drop_revisions, fill_template, inline_svg
from tests.conftest import ROOT
from tests.small_tables import HOSTILE

PLOTS = ROOT / "plots"
COLUMNS = {"system": ["a", HOSTILE], "coverage@10": [0.5, 0.25], "ndcg@10": [0.25, 0.5]}


def test_every_template_is_a_chart_for_dvc_and_is_used() -> None:
    assert {path.stem for path in PLOTS.glob("*")} == {chart.file for chart in CHARTS.values()}
    for path in PLOTS.glob("*.json"):
        assert json.loads(path.read_text())["data"]["values"] == "<DVC_METRIC_DATA>"


def test_dvc_plots_shows_the_charts_of_the_report() -> None:
    plots = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["plots"]
    charts = [
        (title, plot["template"], plot["x"], dict(plot["y"]))
        for block in plots
        for title, plot in block.items()
    ]
    assert charts == [
        (c.title.lower(), f"plots/{c.file}.json", c.x, {f"metrics/plots/{c.file}.csv": c.y})
        for c in CHARTS.values()
    ]


def test_encodings_by_revision_go_and_an_empty_facet_is_unwrapped() -> None:
    spec = {"facet": {"row": {"field": "rev"}}, "spec": {"mark": "bar", "encoding": {"x": {}}}}
    assert drop_revisions(spec) == {"mark": "bar", "encoding": {"x": {}}}
    spec = {"facet": {"row": {"field": "rev"}, "column": {"field": "a"}}, "spec": {}}
    assert drop_revisions(spec) == {"facet": {"column": {"field": "a"}}, "spec": {}}


def test_a_broken_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"gone\.json: not found; restore"):
        fill_template(tmp_path / "gone.json", [], "x", "y")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(StageError, match=r"bad\.json: is not valid JSON"):
        fill_template(tmp_path / "bad.json", [], "x", "y")


def test_a_chart_is_equal_each_time_titled_escaped_and_without_addresses() -> None:
    chart, table = CHARTS["accuracy_coverage"], pl.DataFrame(COLUMNS)
    svg = draw("a", chart, table, PLOTS)
    assert svg == draw("a", chart, table, PLOTS)
    assert "<title>Accuracy against coverage</title>" in svg
    assert "&lt;script" in svg
    assert "<script" not in svg
    assert "<img" not in svg
    assert "http" not in svg.replace("http://www.w3.org/", "").replace("http://127.0.0.1:9", "")
    other = Chart(file="accuracy_coverage", x="coverage@10", y="ndcg@10", title="<b>", caption="")
    assert "<title>&lt;b&gt;</title>" in draw("other", other, table, PLOTS)


def test_importance_has_a_facet_for_each_ranker_with_its_own_order() -> None:
    columns = {"ranker": ["basic"] * 2 + ["hit"] * 2, "feature": ["rank", "score"] * 2}
    table = pl.DataFrame({**columns, "gain_share": [0.75, 0.25, 0.1, 0.9]})
    svg = draw("importance", CHARTS["importance"], table, PLOTS)
    labels = re.findall(r">(\w+)</text>", svg)
    assert [label for label in labels if label != "gain_share"] == [
        *("rank", "score", "basic"),
        *("score", "rank", "hit"),
    ]


def test_the_ids_of_a_chart_do_not_depend_on_the_charts_before_it() -> None:
    for old in ("clip7", "clip8"):
        part = f'<g id="{old}" clip-path="url(#{old})"/><use href="#{old}"/>'
        inline = inline_svg(f'<svg width="9" viewBox="0 0 9 9">{part}</svg>', "one", "t")
        assert inline.endswith('<g id="one_0" clip-path="url(#one_0)"/><use href="#one_0"/></svg>')


@pytest.mark.parametrize("name", ["ndcg", "curve"])
def test_every_line_has_its_name_beside_its_end_and_no_names_overlap(name: str) -> None:
    chart = CHARTS[name]
    series = {"ndcg": "system", "curve": "retriever"}[name]
    ends = {"low": 0.1, "high": 0.5, "just_below": 0.4999, "same": 0.5, "lower": 0.2}
    rows = [
        {series: line, chart.x: x, chart.y: end * x / 20}
        for line, end in ends.items()
        for x in (1, 5, 20)
    ]
    svg = draw(name, chart, pl.DataFrame(rows), PLOTS)
    labels = re.findall(r'translate\(([\d.]+),([\d.]+)\)"[^>]*>(\w+)</text>', svg)
    heights = {text: float(y) for x, y, text in labels if text in ends}
    assert set(heights) == set(ends)
    ordered = sorted(heights, key=heights.__getitem__)
    assert set(ordered[:3]) == {"high", "same", "just_below"}
    assert ordered[3:] == ["lower", "low"]
    gaps = [heights[b] - heights[a] for a, b in pairwise(ordered)]
    assert min(gaps) > 10
    assert "role-legend" not in svg
