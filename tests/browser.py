"""A tab of headless Chromium that notes what it asks for and what goes wrong in it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
LOUD = ("error", "warning")  # of the console
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")

# Every text of a chart, with its contrast (WCAG 2) to the shape that it lies on, or to the page.
CHART_TEXTS = """() => {
  const luminance = color => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
      .map(part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
    return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
  };
  const isVisible = ({fill, opacity, fillOpacity}) =>
    fill !== "none" && !fill.startsWith("rgba") && opacity * fillOpacity > 0;
  const page = getComputedStyle(document.body).backgroundColor, texts = [];
  for (const svg of document.querySelectorAll("svg")) {
    const shapes = [...svg.querySelectorAll("path, rect")]
      .map(shape => ({shape, box: shape.getBoundingClientRect(), style: getComputedStyle(shape)}))
      .filter(({style}) => isVisible(style));
    for (const text of svg.querySelectorAll("text")) {
      const style = getComputedStyle(text), box = text.getBoundingClientRect();
      if (!isVisible(style) || !box.width) continue;
      const x = box.x + box.width / 2, y = box.y + box.height / 2;
      const below = shapes.filter(({shape, box}) => box.left <= x && x <= box.right
        && box.top <= y && y <= box.bottom
        && shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING).pop();
      const [low, high] = [style.fill, below ? below.style.fill : page].map(luminance).sort();
      texts.push({text: text.textContent, contrast: (high + .05) / (low + .05)});
    }
  }
  return texts;
}"""


@contextmanager
def open_tab() -> Iterator[Any]:
    """A Playwright page with two lists: addresses `asked` for, and `problems` of its console.

    Skips the test where there is no Playwright or no Chromium.
    """
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install -r tests/requirements.txt"
    )
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium, or set CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        tab.asked, tab.problems = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.on(
            "console",
            lambda said: tab.problems.append(said.text) if said.type in LOUD else None,
        )
        yield tab
        browser.close()


def outside(asked: list[str]) -> list[str]:
    """Addresses that are neither of a local file nor inside the page."""
    return [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


def accessibility_faults(tab: Any) -> list[str]:
    """What axe finds on the page as it is now, in light and dark colors: a line for each element.

    Skips the test where there is no axe.
    """
    api = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="needs axe: pip install -r tests/requirements.txt",
    )
    lines = []
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        results = api.Axe().run(tab).response
        assert any(rule["id"] == "color-contrast" and rule["nodes"] for rule in results["passes"])
        lines += [
            f"{scheme}: {rule['id']}: {' '.join(map(str, node['target']))}: {rule['help']}"
            for rule in results["violations"]
            for node in rule["nodes"]
        ]
    return lines


def faint_chart_texts(tab: Any) -> list[str]:
    """Texts of the visible charts whose contrast is below 4.5, in light and dark colors.

    axe leaves out charts: it does not see what their texts lie on.
    """
    lines = []
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        texts = tab.evaluate(CHART_TEXTS)
        assert texts
        faint = [text for text in texts if text["contrast"] < 4.5]
        lines += [f"{scheme}: {text['text']}: {text['contrast']:.2f}" for text in faint]
    return lines


def has_sideways_scroll(tab: Any) -> bool:
    """Whether the page is wider than the window."""
    return tab.evaluate("document.documentElement.scrollWidth > window.innerWidth")
