"""A page on this computer: search titles, pick movies, see recommendations and explanations.

    python -m stages.serving demo --port 8000

It needs the bundle only and listens on 127.0.0.1; it is no stage of the pipeline.
"""

import stages.serving.one_thread  # noqa: F401

# isort: split
import argparse
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

import polars as pl

from stages.common.console import standard_output
from stages.common.stage import StageError
from stages.serving.local_server import RequestError, Routes, Server, json_response
from stages.serving.recommend import BUNDLE, utf8_path
from stages.serving.recommender import NEW_USER, Recommender

PAGE = Path(__file__).with_name("demo.html")
MAX_LIKED, MAX_QUERY = 50, 100  # movies, characters
MAX_MATCHES, TOP = 12, 20
COLUMNS = ("rank", "movie_id", "title", "genres", "explanation_id", "explanation", "generators")


def normalize_text(texts: pl.Series) -> pl.Series:
    """Return `texts` in lower case and without accents, for search."""
    return texts.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()


def read_page() -> str:
    """Return the page, with the limits filled in."""
    text = PAGE.read_text(encoding="utf-8")
    return text.replace("@MAX_LIKED@", str(MAX_LIKED)).replace("@MAX_QUERY@", str(MAX_QUERY))


class Demo:
    """The JSON API behind the page; several threads may call it at once."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.lock = threading.Lock()  # one recommendation at a time: each takes milliseconds
        self.movie_ids = frozenset(recommender.catalogue["movie_id"].to_list())
        positives = recommender.popularity.select("movie_id", "positives")
        titles = recommender.catalogue.join(positives, on="movie_id", maintain_order="left")
        self.titles = titles.with_columns(text=normalize_text(titles["title"])).sort(
            "positives", "movie_id", descending=[True, False]
        )

    def search(self, query: str) -> list[dict[str, Any]]:
        """Return movies whose title has all words of `query`, by popularity.

        An empty query matches all movies.
        """
        if len(query) > MAX_QUERY:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"q: use up to {MAX_QUERY} characters")
        words = normalize_text(pl.Series([query], dtype=pl.String))[0].split()
        conditions = [pl.col("text").str.contains(word, literal=True) for word in words]
        matches = self.titles.filter(conditions) if conditions else self.titles
        return matches.head(MAX_MATCHES).select("movie_id", "title", "genres").to_dicts()

    def recommend(self, body: Any) -> list[dict[str, Any]]:
        """Return the best movies for a new user who likes those of the request's body.

        Args:
            body: `{"liked": [movie_id, ...]}`.

        Raises:
            RequestError: The body is something else, or a movie is unknown.
        """
        liked = body.get("liked") if isinstance(body, dict) else None
        # Compared with `type`, because isinstance(True, int) holds.
        if not isinstance(liked, list) or {type(movie) for movie in liked} != {int}:
            message = 'the body must be {"liked": [movie_id, ...]}'
            raise RequestError(HTTPStatus.BAD_REQUEST, message)
        if len(liked) > MAX_LIKED:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"liked: give up to {MAX_LIKED} movies")
        for movie in liked:
            if movie not in self.movie_ids:
                raise RequestError(HTTPStatus.BAD_REQUEST, f"liked: there is no movie {movie}")
        with self.lock:
            table = self.recommender.for_person(NEW_USER, liked, TOP)
        return table.select(COLUMNS).to_dicts()

    def routes(self) -> Routes:
        """Return the functions that answer the API's requests, by path and method."""
        return {
            "/api/movies": {
                "GET": lambda request: json_response(
                    {"movies": self.search(request.query_field("q"))}
                )
            },
            "/api/recommendations": {
                "POST": lambda request: json_response(
                    {"recommendations": self.recommend(request.json_body())}
                )
            },
        }


@standard_output()
def main() -> None:
    """Load the bundle, then serve until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.serving demo", description="Show recommendations on a local page."
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port (8000)")
    parser.add_argument("--bundle", type=utf8_path, default=BUNDLE, help=f"the folder ({BUNDLE})")
    arguments = parser.parse_args()
    try:
        routes = Demo(Recommender(arguments.bundle)).routes()
        server = Server(read_page(), routes, arguments.port)
    except StageError as error:
        sys.exit(f"error: {error}")
    except (OSError, OverflowError) as error:
        sys.exit(f"error: --port {arguments.port}: cannot be used ({error}); give another")
    print(f"Open {server.url} in a browser; stop with Ctrl-C.", flush=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nstopped")


if __name__ == "__main__":
    main()
