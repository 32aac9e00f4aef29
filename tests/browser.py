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
