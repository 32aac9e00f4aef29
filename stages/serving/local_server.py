"""A small HTTP server for a page on this computer that trusts nobody.

It listens on 127.0.0.1, answers to its own names only, bounds what it reads, and lets browsers
run nothing but the page's own script and style.
"""

import base64
import hashlib
import json
import re
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ADDRESS = "127.0.0.1"
MAX_BODY = 4096  # bytes
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


def as_json(value: Any) -> Answer:
    """A JSON answer."""
    return "application/json; charset=utf-8", json.dumps(value, ensure_ascii=False).encode()


class Handler(BaseHTTPRequestHandler):
    """Check a request, route it, send the answer."""

    server: "Server"
    protocol_version = default_request_version = "HTTP/1.1"
    timeout = SECONDS

    def field(self, name: str) -> str:
        """A field of the query, empty where it is not given."""
        try:
            fields = parse_qs(urlsplit(self.path).query, max_num_fields=4)
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"give one field, {name}") from None
        return fields.get(name, [""])[0]

    def json_body(self) -> Any:
        """The value of a short JSON body."""
        # Other sites' pages cannot send this type without asking, which nobody answers.
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
        if int(length) > MAX_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send up to {MAX_BODY} bytes")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None

    def route(self) -> Answer:
        """The answer to a request, or a `RefusedError`."""
        # A name that another site has pointed at this computer is not ours to answer for.
        if self.headers.get_all("Host", []) not in self.server.hosts:
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "this is not the host you asked for")
        methods = self.server.routes.get(urlsplit(self.path).path)
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
        own["Content-Security-Policy"] = self.server.policy
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            own["Allow"] = ", ".join(self.server.routes[urlsplit(self.path).path])
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


Routes = dict[str, dict[str, Callable[[Handler], Answer]]]  # path -> method -> answer


class Server(ThreadingHTTPServer):
    """Listens on this computer only."""

    daemon_threads = True

    def __init__(self, page: str, routes: Routes, port: int) -> None:
        """Serve `page` at / and `routes` beside it; port 0 takes any free one."""
        super().__init__((ADDRESS, port), Handler)
        content = "text/html; charset=utf-8", page.encode()
        self.routes: Routes = {"/": {"GET": lambda _: content}, **routes}
        self.policy = policy(page)
        self.url = f"http://{ADDRESS}:{self.server_port}/"
        self.hosts = [[f"{name}:{self.server_port}"] for name in (ADDRESS, "localhost")]
