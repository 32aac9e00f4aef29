import pytest

from stages.plots_template import page
from stages.reporting.vega import javascript, to_svg

ENCODING = {"x": {"field": "a", "type": "quantitative"}}


def test_a_chart_with_its_own_data_is_drawn() -> None:
    chart = {"data": {"values": [{"a": 1}]}, "mark": "point", "encoding": ENCODING}
    assert to_svg(chart, {}).startswith("<svg")


def test_a_chart_loads_nothing_from_the_network() -> None:
    chart = {"data": {"url": "http://127.0.0.1:9/x.csv"}, "mark": "point", "encoding": ENCODING}
    with pytest.raises(ValueError, match="not allowed"):
        to_svg(chart, {})


def test_the_code_of_vega_can_be_put_on_a_page() -> None:
    assert "vegaEmbed" in page(javascript())
