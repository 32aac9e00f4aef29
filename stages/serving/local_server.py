"""A small HTTP server for a page on this computer, which trusts no client.

It listens on 127.0.0.1, answers only requests for its own host names, limits the size of a
request and the number of connections, and its Content-Security-Policy lets browsers run only the
page's own script and style.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

ADDRESS = "127.0.0.1"
MAX_BODY = 4096  # bytes
TIMEOUT = 30  # seconds until a silent connection is closed
MAX_CONNECTIONS = 32  # each has a thread
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Response = tuple[str, bytes]  # content type, body


class RequestError(Exception):
    """A bad request: the status and the message of its response."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def content_security_policy(page: str) -> str:
    """Return a Content-Security-Policy that lets only the page's own script and style run."""
    sources = {}
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources[tag] = f"{tag}-src 'sha256-{digest}'"
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    trusted_types = "require-trusted-types-for 'script'; trusted-types 'none'"
    connections = "connect-src 'self'; img-src data:"
    return "; ".join([nothing, *sources.values(), connections, trusted_types])


def json_response(value: Any) -> Response:
    """Return a JSON response with `value` as its body."""
    return "application/json; charset=utf-8", json.dumps(value, ensure_ascii=False).encode()


class Handler(BaseHTTPRequestHandler):
    """Check a request, route it, and send the response."""

    server: "Server"
    protocol_version = default_request_version = "HTTP/1.1"
    timeout = TIMEOUT

    def handle(self) -> None:
        """Serve the requests of a connection; a client may end it at any time."""
        with suppress(ConnectionError):
            super().handle()

    def target(self) -> SplitResult:
        """Return the parts of the address that is asked for."""
        try:
            return urlsplit(self.path)
        except ValueError:
            raise RequestError(HTTPStatus.BAD_REQUEST, "this is no address") from None

    def query_field(self, name: str) -> str:
        """Return a field of the query string, or an empty text if it is missing."""
        try:
            fields = parse_qs(self.target().query, max_num_fields=4)
        except ValueError:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"give one field, {name}") from None
        return fields.get(name, [""])[0]

    def json_body(self) -> Any:
        """Parse a JSON body of at most `MAX_BODY` bytes.

        Raises:
            RequestError: The type, the length or the text is not allowed.
        """
        # Another site's page may send this type only after a CORS preflight, which is refused.
        if self.headers.get_content_type() != "application/json":
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or "Transfer-Encoding" in self.headers:
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
        if int(length) > MAX_BODY:
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send up to {MAX_BODY} bytes")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise RequestError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None

    def route(self) -> Response:
        """Return the response to the request.

        Raises:
            RequestError: The host, the path or the method is wrong, or the route refuses it.
        """
        # Against DNS rebinding, where another site's host name leads to this computer.
        if self.headers.get_all("Host") not in self.server.hosts:
            raise RequestError(HTTPStatus.MISDIRECTED_REQUEST, "this is not the host you asked for")
        methods = self.server.routes.get(self.target().path)
        if methods is None:
            raise RequestError(HTTPStatus.NOT_FOUND, "there is nothing here")
        if self.command not in methods:
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, f"use {', '.join(methods)}")
        return methods[self.command](self)

    def do_GET(self) -> None:
        """Respond to a request of any method; `http.server` prescribes this name."""
        self.server.mark_active(self.connection)
        try:
            self.reply(HTTPStatus.OK, *self.route())
        except RequestError as error:
            self.send_error(error.status, str(error))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:
            traceback.print_exc()
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong")

    do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error as JSON, and close the connection without reading the rest of it."""
        self.close_connection = True
        body = {"error": message or HTTPStatus(code).phrase}
        self.reply(HTTPStatus(code), *json_response(body))

    def reply(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        """Send a whole response."""
        self.send_response(status)
        headers = {**HEADERS, "Content-Type": content_type, "Content-Length": str(len(body))}
        headers["Content-Security-Policy"] = self.server.policy
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(self.server.routes[self.target().path])
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Return the value of the Server header, without Python's version."""
        return "demo"

    def log_request(self, *code_and_size: int | str) -> None:
        """Log no requests."""


Routes = dict[str, dict[str, Callable[[Handler], Response]]]  # path -> method -> response


class Server(ThreadingHTTPServer):
    """A server that listens on this computer only, with a thread for each connection.

    Beyond `MAX_CONNECTIONS`, a new one replaces the one whose last request is the longest ago, so
    that silent connections keep nobody out.
    """

    daemon_threads = True
    request_queue_size = 128  # connections that wait for their thread

    def __init__(self, page: str, routes: Routes, port: int) -> None:
        """Serve `page` at / and `routes` beside it; port 0 takes any free port."""
        super().__init__((ADDRESS, port), Handler)
        content = "text/html; charset=utf-8", page.encode()
        self.routes: Routes = {"/": {"GET": lambda _: content}, **routes}
        self.policy = content_security_policy(page)
        self.url = f"http://{ADDRESS}:{self.server_port}/"
        self.hosts = [[f"{name}:{self.server_port}"] for name in (ADDRESS, "localhost")]
        # The one whose last request is the longest ago first; a connection leaves with its thread.
        self.connections: dict[socket.socket, None] = {}
        self.has_changed = threading.Condition()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread of its own, once there are few enough."""
        with self.has_changed:
            if len(self.connections) >= MAX_CONNECTIONS:
                with suppress(OSError):  # its client has ended it
                    next(iter(self.connections)).shutdown(socket.SHUT_RDWR)
                self.has_changed.wait_for(lambda: len(self.connections) < MAX_CONNECTIONS)
            self.connections[request] = None
        super().process_request(request, client_address)

    def mark_active(self, connection: socket.socket) -> None:
        """Move a connection behind all others, as its client has just sent a request."""
        with self.has_changed:
            self.connections[connection] = self.connections.pop(connection)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; `socketserver` calls this at the end of its thread."""
        with self.has_changed:
            self.connections.pop(request, None)
            self.has_changed.notify()
        super().shutdown_request(request)
