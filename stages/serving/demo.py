"""A page on this computer: search titles, rate movies, see recommendations and explanations.

    python -m stages.serving demo --port 8000

It needs the bundle only and listens on 127.0.0.1; it is no stage of the pipeline.
"""

import stages.serving.one_thread  # noqa: F401

# isort: split
import html
import re
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

import polars as pl

from stages.common.console import standard_output
from stages.common.stage import StageError
from stages.serving.arguments import Parser
from stages.serving.demo_users import MAX_ID, DemoUsers
from stages.serving.local_server import (
    Handler,
    RequestError,
    Response,
    Routes,
    Server,
    json_response,
)
from stages.serving.pipeline import NEW_USER, ServingPipeline
from stages.serving.raw_ids import id_suffix
from stages.serving.title_search import TitleSearch

PAGE = Path(__file__).with_name("demo.html")
KINDS = ("liked", "disliked", "seen")
MAX_PICKS, MAX_QUERY = 50, 100  # movies of each kind, characters
MAX_MATCHES, TOP = 12, 20
COLUMNS = ("rank", "movie_id", "title", "genres", "explanation_id", "explanation", "generators")
LISTS = '{"liked": [movie_id, ...], "disliked": [...], "seen": [...], "user": user_id}'
BODY = f"the body must be {LISTS}, with a movie or a user"
IDS = re.compile(r"\d{1,10}(,\d{1,10})*", re.ASCII)


def name_movies(movies: pl.DataFrame) -> list[str]:
    """Return titles, each with its id in square brackets if several movies have the title.

    Args:
        movies: title and raw_id.
    """
    is_shared = movies["title"].is_duplicated()
    rows = zip(movies["title"], movies["raw_id"], is_shared)
    return [t + id_suffix(t, i) if shared else t for t, i, shared in rows]


class Demo:
    """The JSON API behind the page; several threads may call it at once."""

    def __init__(self, recommender: ServingPipeline) -> None:
        self.recommender = recommender
        self.lock = threading.Lock()  # one recommendation at a time: each takes milliseconds
        self.titles = TitleSearch(
            recommender.catalogue, recommender.movie_ids, recommender.popularity
        )
        names = name_movies(self.titles.movies)
        self.names = dict(zip(self.titles.movies["movie_id"], names))
        self.users = DemoUsers(recommender.histories, recommender.user_ids)

    def page(self) -> str:
        """Return the page, with the limits and the size of the catalogue filled in."""
        size = f"{len(self.names):,} movies"
        if (year := self.titles.newest_year) is not None:
            size += f", up to {year}"
        values = {
            "@MAX_PICKS@": MAX_PICKS,
            "@MAX_QUERY@": MAX_QUERY,
            "@MAX_ID@": MAX_ID,
            "@USER@": self.users.suggest("")[0],
            "@CATALOGUE@": size,
        }
        text = PAGE.read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(name, html.escape(str(value)))
        return text

    def search(self, query: str) -> list[dict[str, Any]]:
        """Return the movies that `query` may mean; for an empty one, the most popular movies."""
        if len(query) > MAX_QUERY:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"q: use up to {MAX_QUERY} characters")
        return self.describe(self.titles.search(query, MAX_MATCHES))

    def movies(self, ids: str) -> list[dict[str, Any]]:
        """Return the movies of comma-separated ids; unknown ones are left out."""
        if not IDS.fullmatch(ids) or ids.count(",") >= len(KINDS) * MAX_PICKS:
            limit = len(KINDS) * MAX_PICKS
            raise RequestError(HTTPStatus.BAD_REQUEST, f"ids: give up to {limit} numbers")
        numbers = [int(number) for number in ids.split(",")]
        matches = pl.col("movie_id").cast(pl.Int64).is_in(numbers)
        return self.describe(self.titles.movies.filter(matches))

    def describe(self, movies: pl.DataFrame) -> list[dict[str, Any]]:
        """Return what the page shows of movies."""
        rows = movies.select("movie_id", "genres").to_dicts()
        return [{**row, "title": self.names[row["movie_id"]]} for row in rows]

    def recommend(self, body: Any) -> list[dict[str, Any]]:
        """Return the best movies for a person who rates those of the request's body.

        Args:
            body: `{"liked": [movie_id, ...], "disliked": [...], "seen": [...], "user": raw_id}`, of
                which some may be missing or empty, but not all. The lists add to the ratings of
                the user, or are those of a new one.

        Raises:
            RequestError: The body is something else, a user or a movie is unknown, or a movie is
                in two lists.
        """
        if not isinstance(body, dict) or not body.keys() <= {*KINDS, "user"}:
            raise RequestError(HTTPStatus.BAD_REQUEST, BODY)
        lists = {kind: body.get(kind, []) for kind in KINDS}
        for kind, movies in lists.items():
            # Compared with `type`, because isinstance(True, int) holds.
            if not isinstance(movies, list) or not {type(movie) for movie in movies} <= {int}:
                raise RequestError(HTTPStatus.BAD_REQUEST, BODY)
            if len(movies) > MAX_PICKS:
                message = f"{kind}: give up to {MAX_PICKS} movies"
                raise RequestError(HTTPStatus.BAD_REQUEST, message)
            for movie in movies:
                if movie not in self.names:
                    raise RequestError(HTTPStatus.BAD_REQUEST, f"{kind}: there is no movie {movie}")
        picks = [movie for movies in lists.values() for movie in set(movies)]
        if not picks and "user" not in body:
            raise RequestError(HTTPStatus.BAD_REQUEST, BODY)
        if len(set(picks)) < len(picks):
            raise RequestError(HTTPStatus.BAD_REQUEST, "give each movie in one of the lists")
        user = self.users.number(body["user"]) if "user" in body else NEW_USER
        liked, disliked, seen = lists.values()
        with self.lock:
            table = self.recommender.for_person(user, liked, TOP, disliked=disliked, seen=seen)
        return [
            {
                **row,
                "title": self.names[row["movie_id"]],
                "explanation": self.names.get(row["explanation_id"]),
            }
            for row in table.select(COLUMNS).to_dicts()
        ]

    def get_movies(self, request: Handler) -> Response:
        """Answer with the movies of the field `ids`, or else with those that `q` may mean."""
        ids = request.query_field("ids")
        movies = self.movies(ids) if ids else self.search(request.query_field("q"))
        return json_response({"movies": movies})

    def get_users(self, request: Handler) -> Response:
        """Answer with the user of the field `id`, or else with ids that begin with `q`."""
        if raw_id := request.query_field("id"):
            return json_response({"user": self.users.describe(raw_id, self.names)})
        return json_response({"users": self.users.suggest(request.query_field("q"))})

    def routes(self) -> Routes:
        """Return the functions that answer the API's requests, by path and method."""
        return {
            "/api/movies": {"GET": self.get_movies},
            "/api/users": {"GET": self.get_users},
            "/api/recommendations": {
                "POST": lambda request: json_response(
                    {"recommendations": self.recommend(request.json_body())}
                )
            },
        }


@standard_output()
def main() -> None:
    """Load the bundle, then serve until Ctrl-C."""
    parser = Parser("demo", "Show recommendations on a local page.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port (8000)")
    arguments = parser.parse_args()
    try:
        recommender = ServingPipeline(arguments.bundle)
        recommender.scorer.compile_trees()  # before the first request
        demo = Demo(recommender)
        server = Server(demo.page(), demo.routes(), arguments.port)
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
