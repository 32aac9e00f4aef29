"""A page on this computer: search titles, pick what you like, see recommendations and why.

    python -m stages.demo --port 8000

It answers on 127.0.0.1 only, from the bundle alone; it is no stage of the pipeline.
"""

import stages.one_thread  # noqa: F401

# isort: split
import argparse
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

import polars as pl

from stages.common.stage import StageError
from stages.recommend import BUNDLE
from stages.serving.chain import NEW_USER, Chain
from stages.serving.local_server import RefusedError, Routes, Server, as_json

PAGE = Path(__file__).parent / "serving" / "demo.html"
MAX_LIKED, MAX_QUERY = 50, 100  # movies, characters
MATCHES, TOP = 12, 20
SHOWN = ("rank", "movie_id", "title", "genres", "because_id", "because", "found_by")


def searchable(titles: pl.Series) -> pl.Series:
    """Lower case without accents, so that both need not be typed."""
    return titles.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()


def page() -> str:
    """The page, with the limits that it tells people of."""
    text = PAGE.read_text(encoding="utf-8")
    return text.replace("@MAX_LIKED@", str(MAX_LIKED)).replace("@MAX_QUERY@", str(MAX_QUERY))


class Demo:
    """What the page asks for; any number of threads may ask."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.lock = threading.Lock()  # one answer at a time: each takes milliseconds
        self.known = frozenset(chain.catalogue["movie_id"].to_list())
        liked = chain.popularity.select("movie_id", "likings")
        titles = chain.catalogue.join(liked, on="movie_id", maintain_order="left")
        self.titles = titles.with_columns(text=searchable(titles["title"])).sort(
            "likings", "movie_id", descending=[True, False]
        )

    def search(self, query: str) -> list[dict[str, Any]]:
        """Movies whose title has all words of `query`, the most liked first; all without one."""
        if len(query) > MAX_QUERY:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"q: use up to {MAX_QUERY} characters")
        words = searchable(pl.Series([query], dtype=pl.String))[0].split()
        fits = [pl.col("text").str.contains(word, literal=True) for word in words]
        found = self.titles.filter(fits) if fits else self.titles
        return found.head(MATCHES).select("movie_id", "title", "genres").to_dicts()

    def recommend(self, asked: Any) -> list[dict[str, Any]]:
        """The best movies for who likes those of `{"liked": [movie_id, ...]}`."""
        wrong = HTTPStatus.BAD_REQUEST
        liked = asked.get("liked") if isinstance(asked, dict) else None
        # The types themselves, because True counts as a whole number elsewhere.
        if not isinstance(liked, list) or {type(movie) for movie in liked} != {int}:
            raise RefusedError(wrong, 'the body must be {"liked": [movie_id, ...]}')
        if len(liked) > MAX_LIKED:
            raise RefusedError(wrong, f"liked: give up to {MAX_LIKED} movies")
        for movie in liked:
            if movie not in self.known:
                raise RefusedError(wrong, f"liked: there is no movie {movie}")
        with self.lock:
            return self.chain.for_person(NEW_USER, liked, TOP).select(SHOWN).to_dicts()

    def routes(self) -> Routes:
        """The JSON API."""
        return {
            "/api/movies": {"GET": lambda ask: as_json({"movies": self.search(ask.field("q"))})},
            "/api/recommendations": {
                "POST": lambda ask: as_json({"recommendations": self.recommend(ask.json_body())})
            },
        }


def main() -> None:
    """Load the bundle, then serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Show recommendations on a local page.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free one (8000)")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help=f"the folder ({BUNDLE})")
    chosen = parser.parse_args()
    try:
        server = Server(page(), Demo(Chain(chosen.bundle)).routes(), chosen.port)
    except StageError as error:
        sys.exit(f"error: {error}")
    except (OSError, OverflowError) as error:
        sys.exit(f"error: --port {chosen.port}: cannot be used ({error}); give another")
    print(f"Open {server.url} in a browser; Ctrl-C ends it.", flush=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nended")


if __name__ == "__main__":
    main()
