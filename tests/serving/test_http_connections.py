"""Connections to the HTTP service that are silent, too many, or no HTTP."""

import asyncio
import http.client
import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from stages.serving import http_connections, http_service, serve
from stages.serving.http_service import Service
from tests.serving.http_client import Address, send, serve_app

HEAD = b"POST /recommendations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


class NoRecommender:
    ranker, num_movies = "none", 0


@pytest.fixture
def server() -> Iterator[Address]:
    with serve_app(Service(NoRecommender()).app()) as running:
        yield running


def connect(server: Address) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=10)


def is_closed(connection: socket.socket) -> bool:
    """Wait until the service closes a connection; fail if it sends anything."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_what_is_no_http_gets_400_as_json(
    server: Address, capfd: pytest.CaptureFixture[str]
) -> None:
    length = HEAD + b"Content-Length: x\r\n\r\n"
    chunk = HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"
    for text in (
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\r\n",
        length,
        chunk,
    ):
        with connect(server) as connection:
            connection.sendall(text)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        assert status == "HTTP/1.1 400 Bad Request"
        headers = {name.lower(): value for name, value in (line.split(": ") for line in lines)}
        assert headers == {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
        }
        assert json.loads(body) == {"error": "this is no HTTP request; send one"}
    assert "Traceback" not in capfd.readouterr().err


def test_surplus_connections_get_503_and_the_others_go_on(
    server: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connections, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(http_connections, "MAX_SURPLUS", 2)
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 60)
    first = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    first.request("GET", "/health")
    assert first.getresponse().read()
    with ExitStack() as stack:
        stack.enter_context(connect(server))
        assert send(server, "GET", "/health")[0].status == 200
        stack.enter_context(connect(server))
        for _ in range(2):  # the fourth connection, and the fifth
            response, content = send(server, "GET", "/health")
            assert (response.status, response.headers["Connection"]) == (503, "close")
            assert "connections" in json.loads(content)["error"]
            stack.enter_context(connect(server))
        with connect(server) as one_more:
            assert is_closed(one_more)
        first.request("GET", "/metrics")
        response = first.getresponse()
        assert (response.status, b'path="/health",status="503"' in response.read()) == (200, True)
    first.close()


def test_a_connection_without_a_whole_request_is_closed_after_a_while(
    server: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.3)
    with connect(server) as connection:
        for byte in (b"G", b"E", b"T"):
            connection.sendall(byte)
        assert is_closed(connection)


def test_a_body_that_does_not_come_gets_408(
    server: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_service, "BODY_SECONDS", 0.2)
    with connect(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 9\r\n\r\n{")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower().split(b"\r\n")
    assert json.loads(body) == {"error": "body: is not here after 0.2 s; send it faster"}


def test_a_client_that_hangs_up_leaves_no_traceback_but_a_count(
    capfd: pytest.CaptureFixture[str],
) -> None:
    count = b'recommender_requests_total{method="POST",path="/recommendations",status="499"} 1.0'
    with serve_app(Service(NoRecommender()).app()) as server:
        for text in (b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"):
            connection = connect(server)
            connection.sendall(text)
            assert send(server, "GET", "/health")[0].status == 200  # so the text has arrived
            # The operating system resets the connection instead of ending it.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        assert any(count in send(server, "GET", "/metrics")[1] for _ in range(500))
    assert "Traceback" not in capfd.readouterr().err


def test_a_connection_is_kept_for_the_next_request(server: Address) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    sockets = set()
    for path, status in (("/health", 200), ("/nowhere", 404), ("/health", 200)):
        connection.request("GET", path)
        sockets.add(connection.sock)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (status, True)
    assert len(sockets) == 1
    connection.close()


def test_the_next_request_may_take_as_long_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "KEEP_ALIVE_SECONDS", 5)
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 5)
    with serve_app(Service(NoRecommender()).app()) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        for _ in range(2):
            connection.request("GET", "/health")
            assert connection.getresponse().read()
            time.sleep(0.1)  # in which a connection without a time would be closed
        connection.close()


def test_a_response_does_not_wait_for_an_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    options = []

    class Watched(http_connections.Connection):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            accepted = transport.get_extra_info("socket")
            options.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(serve, "Connection", Watched)
    with serve_app(Service(NoRecommender()).app()) as server:
        send(server, "GET", "/health")
    assert options
    assert all(options)
