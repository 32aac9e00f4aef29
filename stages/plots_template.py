"""Stage: the page around `dvc plots`, with Vega inside it, so that plots open offline.

DVC's own page loads Vega from the network. Vega comes with a Python package here, so its code
is no file of the repository.
"""

from pathlib import Path

import vl_convert

from stages.common.stage import run_stage, whole_file

VEGA_LITE = "6.4"  # pinned, as the default follows the package; plots/ says v6 too
# DVC puts the charts where {plot_divs} stands; each calls vegaEmbed.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>Plots</title>
<link rel="icon" href="data:,">
<style>body { font-family: sans-serif; margin: 2rem } div { margin-bottom: 2rem }</style>
<script>VEGA</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def page(vega: str) -> str:
    """The template with the JavaScript code `vega`, which must not end its own script tag."""
    if "</script" in vega.lower():
        raise ValueError("the code ends its script tag")
    return PAGE.replace("VEGA", vega)


def main(template: Path) -> str:
    """Write the page that `plots.html_template` in .dvc/config names."""
    text = page(vl_convert.javascript_bundle(vl_version=VEGA_LITE))
    with whole_file(template) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return f"Vega-Lite {VEGA_LITE}, {len(text) // 1000} kB"


if __name__ == "__main__":
    run_stage(main)
