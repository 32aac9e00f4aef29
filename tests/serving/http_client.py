"""A client and background threads for tests of the local server and of the HTTP service."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from starlette.types import ASGIApp

from stages.serving.local_server import Server

JSON = {"Content-Type": "application/json"}


class Address(NamedTuple):
    """Where a service listens."""

    server_port: int


@contextmanager
def serve(server: Server) -> Iterator[Server]:
    """Serve in a thread until the block ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serve_app(app: ASGIApp) -> Iterator[Address]:
    """Serve an ASGI application in a thread until the block ends."""
    # Importing it starts Polars, which a forked process must not inherit.
    from stages.serving.serve import listen, make_server

    server = make_server(app)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Address(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def send(
    server: Server | Address,
    method: str,
    path: str,
    body: str | bytes | None = None,
    **headers: str,
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send one request on its own connection; `_` stands for `-` in header names."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content
