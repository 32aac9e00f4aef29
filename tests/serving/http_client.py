"""A client and a background thread for tests of the local server."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stages.serving.local_server import Server

JSON = {"Content-Type": "application/json"}


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


def send(
    server: Server, method: str, path: str, body: str | bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send one request on its own connection; `_` stands for `-` in header names."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content
