"""Draw docs/demo.png, the picture of the README: the demo's answer to four ratings.

    python -m benchmarks.picture

It needs a bundle of MovieLens 100K, Playwright and Chromium.
"""

from pathlib import Path

from stages.serving.arguments import BUNDLE
from stages.serving.demo import Demo
from stages.serving.local_server import Server
from stages.serving.pipeline import ServingPipeline
from tests.browser import open_tab
from tests.serving.http_client import serve

PICTURE = Path("docs/demo.png")
PICKS = "liked=50,100,1&disliked=258"  # Star Wars, Fargo, Toy Story; Contact
WIDTH, HEIGHT = 1000, 800  # pixels


def main() -> None:
    """Write the picture."""
    demo = Demo(ServingPipeline(BUNDLE))
    with serve(Server(demo.page(), demo.routes(), 0)) as server, open_tab() as tab:
        tab.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        tab.goto(f"{server.url}#{PICKS}")
        tab.wait_for_selector("#list li")
        tab.screenshot(path=str(PICTURE))
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
