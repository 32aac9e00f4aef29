import pytest

from stages import plots_template


def test_the_page_of_dvc_plots_holds_vega_and_loads_nothing() -> None:
    page = plots_template.page("var vegaEmbed = 1;")
    assert "{plot_divs}" in page
    assert "<script>var vegaEmbed = 1;</script>" in page
    assert "http" not in page
    with pytest.raises(ValueError, match="script element"):
        plots_template.page("'</script>'")
