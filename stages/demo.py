"""A page on this computer: search titles, pick what you like, see recommendations and why.

    python -m stages.demo --port 8000

It answers on 127.0.0.1 only, from the bundle alone; it is no stage of the pipeline.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
import threading
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import polars as pl

from stages.common.stage import StageError
from stages.recommend import BUNDLE
from stages.serving import NEW_USER, Chain

ADDRESS = "127.0.0.1"
PAGE = Path(__file__).with_name("demo.html")
MAX_LIKED, MAX_QUERY, MAX_BODY = 50, 100, 4096  # movies, characters, bytes
MATCHES, TOP = 12, 20
SECONDS = 30  # a connection may be silent
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Answer = tuple[str, bytes]  # content type, body


class RefusedError(Exception):
    """A request that gets an error status and a message."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def searchable(titles: pl.Series) -> pl.Series:
    """Lower case without accents, so that both need not be typed."""
    return titles.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()


def policy(page: str) -> str:
    """A Content-Security-Policy that lets the page's own script and style run, and no other."""
    hashes = {}
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[tag] = f"{tag}-src 'sha256-{digest}'"
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    trusted = "require-trusted-types-for 'script'; trusted-types 'none'"
    allowed = "connect-src 'self'; img-src data:"
    return "; ".join([nothing, *hashes.values(), allowed, trusted])


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
        text = PAGE.read_text(encoding="utf-8")
        for name, value in (("MAX_LIKED", MAX_LIKED), ("MAX_QUERY", MAX_QUERY)):
            text = text.replace(f"@{name}@", str(value))
        self.page, self.policy = text.encode(), policy(text)

    def search(self, query: str) -> list[dict[str, Any]]:
        """Movies whose title has all words of `query`, the most liked first; all without one."""
        if len(query) > MAX_QUERY:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"q: use up to {MAX_QUERY} characters")
        words = searchable(pl.Series([query], dtype=pl.String))[0].split()
        fits = [pl.col("text").str.contains(word, literal=True) for word in words]
        found = self.titles.filter(fits) if fits else self.titles
        return found.head(MATCHES).select("movie_id", "title", "genres").to_dicts()

    def recommend(self, body: bytes) -> list[dict[str, Any]]:
        """The best movies for who likes the `liked` movies of a JSON body."""
        wrong = HTTPStatus.BAD_REQUEST
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            raise RefusedError(wrong, "the body is not JSON") from None
        liked = asked.get("liked") if isinstance(asked, dict) else None
        # A set of types, because True counts as a whole number elsewhere.
        if not isinstance(liked, list) or {type(movie) for movie in liked} != {int}:
            raise RefusedError(wrong, 'the body must be {"liked": [movie_id, ...]}')
        if len(liked) > MAX_LIKED:
            raise RefusedError(wrong, f"liked: give up to {MAX_LIKED} movies")
        for movie in liked:
            if movie not in self.known:
                raise RefusedError(wrong, f"liked: there is no movie {movie}")
        with self.lock:
            table = self.chain.for_person(NEW_USER, liked, TOP)
        shown = ("rank", "movie_id", "title", "genres", "because_id", "because", "found_by")
        return table.select(shown).to_dicts()


class Handler(BaseHTTPRequestHandler):
    """Check a request, route it, answer with JSON or the page."""

    server: "Server"
    protocol_version = default_request_version = "HTTP/1.1"
    timeout = SECONDS

    def page(self) -> Answer:
        """The whole page."""
        return "text/html; charset=utf-8", self.server.demo.page

    def movies(self) -> Answer:
        """Titles that fit `?q=`."""
        try:
            fields = parse_qs(urlsplit(self.path).query, max_num_fields=4)
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "give one field, q") from None
        return as_json({"movies": self.server.demo.search(fields.get("q", [""])[0])})

    def recommendations(self) -> Answer:
        """What to watch next."""
        return as_json({"recommendations": self.server.demo.recommend(self.body())})

    ROUTES: ClassVar = {
        "/": {"GET": page},
        "/api/movies": {"GET": movies},
        "/api/recommendations": {"POST": recommendations},
    }

    def body(self) -> bytes:
        """The request's body, if it is JSON and short."""
        # Other sites' pages cannot send this type without asking, which nobody answers.
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
        if int(length) > MAX_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send up to {MAX_BODY} bytes")
        return self.rfile.read(int(length))

    def route(self) -> Answer:
        """The answer to a request, or a `RefusedError`."""
        # A name that another site has pointed at this computer is not ours to answer for.
        if self.headers.get_all("Host", []) not in self.server.hosts:
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "this is not the host you asked for")
        methods = self.ROUTES.get(urlsplit(self.path).path)
        if methods is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")
        if self.command not in methods:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"use {', '.join(methods)}")
        return methods[self.command](self)

    def do_GET(self) -> None:
        """Answer any request; the name is given by `http.server`."""
        try:
            self.reply(HTTPStatus.OK, *self.route())
        except RefusedError as refusal:
            self.send_error(refusal.status, str(refusal))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:
            traceback.print_exc()
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong")

    do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """An error as JSON; what is left of the request is not read."""
        self.close_connection = True
        self.reply(HTTPStatus(code), *as_json({"error": message or HTTPStatus(code).phrase}))

    def reply(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        """Send one whole answer."""
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Length": str(len(body))}
        own["Content-Security-Policy"] = self.server.demo.policy
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            own["Allow"] = ", ".join(self.ROUTES[urlsplit(self.path).path])
        if self.close_connection:
            own["Connection"] = "close"
        for name, value in {**HEADERS, **own}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """What the Server header says."""
        return "demo"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of single requests."""


def as_json(value: Any) -> Answer:
    """A JSON answer."""
    return "application/json; charset=utf-8", json.dumps(value, ensure_ascii=False).encode()


class Server(ThreadingHTTPServer):
    """Listens on this computer only."""

    daemon_threads = True

    def __init__(self, demo: Demo, port: int) -> None:
        super().__init__((ADDRESS, port), Handler)
        self.demo = demo
        self.url = f"http://{ADDRESS}:{self.server_port}/"
        self.hosts = [[f"{name}:{self.server_port}"] for name in (ADDRESS, "localhost")]


def main() -> None:
    """Load the bundle, then serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Show recommendations on a local page.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free one (8000)")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help=f"the folder ({BUNDLE})")
    chosen = parser.parse_args()
    try:
        server = Server(Demo(Chain(chosen.bundle)), chosen.port)
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
