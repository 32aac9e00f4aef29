"""An HTTP service for other programs: recommendations as JSON (docs/serving.md).

    python -m stages.serving serve --host 127.0.0.1 --port 8080

It needs the bundle only; it is no stage of the pipeline.
"""

import stages.serving.one_thread  # noqa: F401

# isort: split
import signal
import socket
import sys

import uvicorn
from starlette.types import ASGIApp

from stages.common.console import standard_output
from stages.common.stage import StageError
from stages.serving.api import Recommender
from stages.serving.arguments import Parser
from stages.serving.http_connections import KEEP_ALIVE_SECONDS, Connection
from stages.serving.http_service import Service

WAITING_CONNECTIONS = 128  # that the operating system keeps until they are accepted
STOP_SECONDS = 15  # for the requests that are under way at the end


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Return a server for an ASGI application; it logs errors only, to standard error."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        backlog=WAITING_CONNECTIONS,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any free port.

    Raises:
        StageError: The address cannot be used.
    """
    if not 0 <= port <= 65535:
        raise StageError(f"--port {port}: is no port; give 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=WAITING_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        where = f"--host {host} --port {port}"
        raise StageError(f"{where}: cannot be used ({error}); give another") from None


def address(listener: socket.socket) -> str:
    """Return the URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@standard_output()
def main() -> None:
    """Load the bundle, then serve until Ctrl-C or SIGTERM."""
    parser = Parser("serve", "Serve recommendations over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="the address (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="0 takes any free port (8080)")
    arguments = parser.parse_args()
    if not arguments.host:
        parser.error("--host: is empty; give 0.0.0.0 for all addresses")
    try:
        recommender = Recommender.load(arguments.bundle)
        recommender.compile_trees()  # before the first request
        listener = listen(arguments.host, arguments.port)
    except StageError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")
    # uvicorn handles both signals, and raises them once more after its clean stop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = make_server(Service(recommender).app())
    sys.stdout.write(f"Serving {address(listener)}; stop with Ctrl-C.\n")
    sys.stdout.flush()
    with listener:
        server.run(sockets=[listener])
    sys.stdout.write("stopped\n")


if __name__ == "__main__":
    main()
