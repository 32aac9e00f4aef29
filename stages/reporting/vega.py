"""Vega-Lite without a network, from the package vl-convert-python."""

from typing import Any

import vl_convert

# Pinned, because the default changes with the package. The schema of plots/*.json says v6 too.
VEGA_LITE = "6.4"


def to_svg(spec: dict[str, Any], config: dict[str, Any]) -> str:
    """Draw the Vega-Lite chart `spec` with the theme `config`.

    Raises:
        ValueError: The chart is not valid, or needs data from the network.
    """
    return vl_convert.vegalite_to_svg(
        spec, vl_version=VEGA_LITE, config=config, allowed_base_urls=[]
    )


def javascript() -> str:
    """Return the code of Vega, Vega-Lite and vegaEmbed, for a page that draws charts itself."""
    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)
