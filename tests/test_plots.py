"""The tables behind the plots, and the charts."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import plot_tables, plots_template
from stages.common.files import write_csv
from stages.common.params import YAML
from stages.common.stage import StageError
from stages.common.tables import POPULARITY, RANKS, RECOMMENDATIONS
from stages.metrics import user_metrics
from stages.reporting.charts import CHARTS, Chart, as_inline, draw, fill, without_revisions
from tests.conftest import ROOT

PLOTS = ROOT / "plots"
EVIL = '<script>window.hacked = 1</script><img src="http://127.0.0.1:9/x.png"> "Tom & Jerry"'


def ranks(places: list[int]) -> pl.DataFrame:
    """RANKS of users 1, 2, ... with one target each."""
    rows = {"user_id": range(1, len(places) + 1), "movie_id": 1, "rank": places, "tied": False}
    return pl.DataFrame({**rows, "history_length": 5, "likings": 3}).cast(dict(RANKS))


def lists(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """RECOMMENDATIONS of user, movie and rank."""
    made = pl.DataFrame(rows, schema=["user_id", "movie_id", "rank"], orient="row")
    return (
        made.with_columns(score=1 / pl.col("rank"))
        .cast(RECOMMENDATIONS)
        .select(RECOMMENDATIONS.names())
    )


def test_at_k_is_the_mean_over_users() -> None:
    found = plot_tables.at_k({"a": ranks([1, 3, 0, 0])}, [1, 2, 3])
    assert found["recall"].to_list() == [0.25, 0.25, 0.5]
    assert found["ndcg"].to_list() == pytest.approx([0.25, 0.25, 0.25 + 0.25 / 2])
    assert found.select("system", "k").rows() == [("a", 1), ("a", 2), ("a", 3)]


def test_scores_stand_within_their_intervals_and_follow_the_seed() -> None:
    rng = np.random.default_rng(0)
    tables = {name: ranks(rng.integers(0, 30, 300).tolist()) for name in ("a", "b")}
    found = plot_tables.scores(tables, 200, seed=1)
    assert (found["low"] < found["value"]).all()
    assert (found["value"] < found["high"]).all()
    assert found.equals(plot_tables.scores(tables, 200, seed=1))
    assert not found.equals(plot_tables.scores(tables, 200, seed=2))
    same = user_metrics(tables["b"], [10])["ndcg@10"].mean()
    assert found.row(by_predicate=(pl.col("system") == "b") & (pl.col("metric") == "ndcg@10"))[
        2
    ] == pytest.approx(same)


def test_tenths_hold_liked_movies_only_and_are_alike_in_size() -> None:
    popularity = pl.DataFrame(
        {"movie_id": range(25), "likings": [25 - i if i < 20 else 0 for i in range(25)]}
    ).with_columns(popularity_rank=pl.col("movie_id") + 1)
    found = plot_tables.tenths(popularity.cast(dict(POPULARITY)))
    assert found["tenth"].to_list() == [i // 2 + 1 for i in range(20)]


def test_the_long_tail_counts_first_places_of_the_measured_users() -> None:
    popularity = pl.DataFrame({"movie_id": range(1, 11), "likings": range(10, 0, -1)})
    popularity = popularity.with_columns(popularity_rank=pl.col("movie_id")).cast(dict(POPULARITY))
    # Movie 10 stands at rank 11, user 3 is not measured: neither counts.
    given = lists([(1, 1, 1), (1, 2, 2), (2, 1, 1), (2, 9, 10), (2, 10, 11), (3, 10, 1)])
    found = plot_tables.long_tail({"a": given}, pl.Series([1, 2]), popularity)
    of = {name: part["share"].to_list() for (name,), part in found.group_by("system")}
    assert of["a"] == [0.5, 0.25, 0, 0, 0, 0, 0, 0, 0.25, 0]
    assert of[plot_tables.LIKINGS] == [i / 55 for i in range(10, 0, -1)]


def test_slices_stand_in_the_order_of_their_bounds(tmp_path: Path) -> None:
    rows = {"slice": "activity", "value": ["201+", "0-10", "51-200", "11-50"], "users": 3}
    write_csv(pl.DataFrame({**rows, "recall@10": 0.5, "ndcg@10": 0.25}), tmp_path / "a.csv")
    found = plot_tables.read_slices(tmp_path, ["a"])
    assert found["value"].to_list() == ["0-10", "11-50", "51-200", "201+"]


# Charts.


def test_every_template_is_a_chart_for_dvc_and_is_used() -> None:
    used = {chart.template for chart in CHARTS.values()} | {"importance"}
    assert {path.stem for path in PLOTS.glob("*")} == used
    for path in PLOTS.glob("*.json"):
        assert json.loads(path.read_text())["data"]["values"] == "<DVC_METRIC_DATA>"
    plots = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["plots"]
    templates = {value["template"] for plot in plots for value in plot.values()}
    assert templates == {f"plots/{name}.json" for name in used}


def test_encodings_by_revision_go_and_an_empty_facet_is_unwrapped() -> None:
    spec = {"facet": {"row": {"field": "rev"}}, "spec": {"mark": "bar", "encoding": {"x": {}}}}
    assert without_revisions(spec) == {"mark": "bar", "encoding": {"x": {}}}
    kept = {"facet": {"row": {"field": "rev"}, "column": {"field": "a"}}, "spec": {}}
    assert without_revisions(kept) == {"facet": {"column": {"field": "a"}}, "spec": {}}


def test_a_broken_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"gone\.json: not found; restore"):
        fill(tmp_path / "gone.json", [], "x", "y")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(StageError, match=r"bad\.json: is not valid JSON"):
        fill(tmp_path / "bad.json", [], "x", "y")


def test_a_chart_is_equal_each_time_titled_escaped_and_without_addresses() -> None:
    rows = {"system": ["a", EVIL], "coverage@10": [0.5, 0.25], "ndcg@10": [0.25, 0.5]}
    balance = CHARTS["balance"]
    svg = draw("balance", balance, pl.DataFrame(rows), PLOTS)
    assert svg == draw("balance", balance, pl.DataFrame(rows), PLOTS)
    assert "<title>Accuracy against coverage</title>" in svg
    assert "&lt;script" in svg
    assert "<script" not in svg
    assert "<img" not in svg
    assert "http" not in svg.replace("http://www.w3.org/", "").replace("http://127.0.0.1:9", "")
    other = Chart(*("balance", "balance", "coverage@10", "ndcg@10"), title="<b>")
    assert "<title>&lt;b&gt;</title>" in draw("other", other, pl.DataFrame(rows), PLOTS)


def test_ids_of_a_chart_are_its_own_whatever_was_drawn_before() -> None:
    for old in ("clip7", "clip8"):
        part = f'<g id="{old}" clip-path="url(#{old})"/><use href="#{old}"/>'
        inline = as_inline(f'<svg width="9" viewBox="0 0 9 9">{part}</svg>', "one", "t")
        assert inline.endswith('<g id="one_0" clip-path="url(#one_0)"/><use href="#one_0"/></svg>')


def test_the_page_of_dvc_plots_holds_vega_and_loads_nothing() -> None:
    page = plots_template.page("var vegaEmbed = 1;")
    assert "{plot_divs}" in page
    assert "<script>var vegaEmbed = 1;</script>" in page
    assert "http" not in page
    with pytest.raises(ValueError, match="script tag"):
        plots_template.page("'</script>'")
