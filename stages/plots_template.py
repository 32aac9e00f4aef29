"""Stage: write the page around `dvc plots`, with Vega inside it, so that plots open offline.

DVC's own page loads Vega from the network.
"""

from pathlib import Path

from stages.common.stage import atomic_write, run_stage
from stages.reporting.vega import VEGA_LITE, javascript

# DVC replaces {plot_divs} by the charts, each with a script that calls vegaEmbed.
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
    """Return the template with the JavaScript code `vega` inside it.

    Raises:
        ValueError: The code would end its own script element.
    """
    if "</script" in vega.lower():
        raise ValueError("the code ends its script element")
    return PAGE.replace("VEGA", vega)


def main(template: Path) -> str:
    """Write the page that `plots.html_template` in .dvc/config names."""
    text = page(javascript())
    with atomic_write(template) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return f"Vega-Lite {VEGA_LITE}, {len(text) // 1000} kB"


if __name__ == "__main__":
    run_stage(main)
