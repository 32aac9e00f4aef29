"""The local server as its clients see it."""

import base64
import hashlib
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus

import pytest

from stages.serving import local_server
from stages.serving.local_server import (
    HEADERS,
    MAX_BODY,
    MAX_CONNECTIONS,
    Handler,
    Response,
    Server,
    content_security_policy,
    json_response,
)
from tests.serving.http_client import JSON, send, serve

PAGE = "<style>b {}</style><b>A page</b><script>'use strict';</script>"


def query(request: Handler) -> Response:
    return json_response({"q": request.query_field("q")})


def echo(request: Handler) -> Response:
    return json_response(request.json_body())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    routes = {
        "/api/query": {"GET": query},
        "/api/echo": {"POST": echo},
        "/api/both": {"GET": query, "POST": echo},
        "/bug": {"GET": lambda _: 1 // 0},
    }
    with serve(Server(PAGE, routes, 0)) as running:
        yield running


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=10)


def exchange(server: Server, text: str) -> bytes:
    """Send a text, and return all that the server sends until it closes the connection."""
    with connect(server) as connection:
        connection.sendall(text.encode())
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_the_page_and_the_routes_respond(server: Server) -> None:
    response, content = send(server, "GET", "/")
    assert (response.status, content.decode()) == (200, PAGE)
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    headers = {**HEADERS, "Server": "demo", "Content-Length": str(len(PAGE))}
    headers |= {"Content-Security-Policy": content_security_policy(PAGE)}
    assert headers.items() <= dict(response.headers).items()
    assert response.headers["Connection"] is None
    assert json.loads(send(server, "GET", "/api/query?q=a+b")[1]) == {"q": "a b"}
    assert json.loads(send(server, "GET", "/api/query")[1]) == {"q": ""}
    response, content = send(server, "POST", "/api/echo", '["é"]'.encode(), **JSON)
    assert (response.status, content.decode()) == (200, '["é"]')
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"),
    [
        ("GET", "/nowhere", {}, 404, "there is nothing here"),
        ("GET", "/../params.yaml", {}, 404, "there is nothing here"),
        ("GET", "/%2e%2e/params.yaml", {}, 404, "there is nothing here"),
        ("GET", "/api/echo", {}, 405, "use POST"),
        ("POST", "/", {}, 405, "use GET"),
        ("HEAD", "/", {}, 405, "use GET"),
        ("OPTIONS", "/api/echo", {}, 405, "use POST"),
        ("PUT", "/api/both", {}, 405, "use GET, POST"),
        ("BREW", "/", {}, 501, "Unsupported method ('BREW')"),
        ("POST", "/api/echo", {}, 415, "send application/json"),
        ("POST", "/api/echo", {"Content_Type": "text/plain"}, 415, "send application/json"),
        (
            "POST",
            "/api/echo",
            {"Content_Type": "text/plain; application/json"},
            415,
            "send application/json",
        ),
        (
            "POST",
            "/api/echo",
            {"Content_Type": "application/x-www-form-urlencoded"},
            415,
            "send application/json",
        ),
        ("POST", "/api/echo", {**JSON, "Content-Length": "x"}, 411, "send a Content-Length"),
        ("POST", "/api/echo", {**JSON, "Content-Length": "-1"}, 411, "send a Content-Length"),
        (
            "POST",
            "/api/echo",
            {**JSON, "Content-Length": "9999999"},
            413,
            f"send up to {MAX_BODY} bytes",
        ),
        (
            "POST",
            "/api/echo",
            {**JSON, "Transfer-Encoding": "chunked"},
            411,
            "send a Content-Length",
        ),
        (
            "POST",
            "/api/echo",
            {**JSON, "Content-Length": "2", "Transfer-Encoding": "chunked"},
            411,
            "send a Content-Length",
        ),
        ("GET", "/api/query?q=a&q=a&q=a&q=a&q=a", {}, 400, "give one field, q"),
        ("GET", "/", {"Host": "example.org"}, 421, "this is not the host you asked for"),
        ("GET", "/", {"Host": "127.0.0.1:1"}, 421, "this is not the host you asked for"),
        (
            "POST",
            "/api/echo",
            {**JSON, "Host": "example.org"},
            421,
            "this is not the host you asked for",
        ),
    ],
)
def test_other_requests_get_the_right_status(
    server: Server,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    response, content = send(server, method, path, **headers)
    assert response.status == status
    assert content == (b"" if method == "HEAD" else json.dumps({"error": message}).encode())
    assert response.headers["Connection"] == "close"
    if status == 405:
        assert response.headers["Allow"] == message.removeprefix("use ")
    assert "Traceback" not in capsys.readouterr().err
    assert "Python" not in response.headers["Server"]
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("{", 400, "the body is not JSON"),
        (b"\xff\xfe", 400, "the body is not JSON"),
        ("[" * 4000, 400, "the body is not JSON"),
        (" " * (MAX_BODY + 1), 413, f"send up to {MAX_BODY} bytes"),
    ],
)
def test_a_body_that_is_no_json_or_too_long_is_refused(
    server: Server, body: str | bytes, status: int, message: str
) -> None:
    response, content = send(server, "POST", "/api/echo", body, **JSON)
    assert response.status == status
    assert json.loads(content) == {"error": message}


def test_the_limits_themselves_are_allowed(server: Server) -> None:
    body = f'"{"a" * (MAX_BODY - 2)}"'
    assert send(server, "POST", "/api/echo", body, **JSON)[1].decode() == body
    assert json.loads(send(server, "GET", "/api/query?q=a&q=b&q=c&q=d")[1]) == {"q": "a"}


def test_a_body_that_does_not_come_closes_the_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.2)
    host = f"Host: 127.0.0.1:{server.server_port}\r\nContent-Type: application/json\r\n"
    with connect(server) as connection:
        text = f"POST /api/echo HTTP/1.1\r\n{host}Content-Length: 9\r\n\r\n1"
        connection.sendall(text.encode())
        assert connection.recv(1) == b""
    assert "Traceback" not in capsys.readouterr().err


def test_a_response_to_head_has_no_body(server: Server) -> None:
    host = f"Host: 127.0.0.1:{server.server_port}\r\n"
    assert exchange(server, f"HEAD / HTTP/1.1\r\n{host}\r\n").endswith(b"\r\n\r\n")


def test_a_long_address_is_refused(server: Server) -> None:
    answer = exchange(server, "GET /" + "a" * 65532)  # one byte more than http.server reads
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    assert answer.startswith(f"HTTP/1.1 {status.value} ".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": status.phrase}


def test_localhost_is_a_name_of_this_host(server: Server) -> None:
    name = f"localhost:{server.server_port}"
    assert send(server, "GET", "/", Host=name)[0].status == 200


def test_it_listens_on_this_computer_only(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_a_request_without_a_host_or_that_is_no_http_is_refused(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    host = f"Host: 127.0.0.1:{server.server_port}\r\n"
    other_host, no_address = "this is not the host you asked for", "this is no address"
    for text, status, message in (
        ("GET / HTTP/1.1\r\n\r\n", b"421", other_host),
        (f"GET / HTTP/1.1\r\n{host}Host: example.org\r\n\r\n", b"421", other_host),
        (f"GET http://[::1 HTTP/1.1\r\n{host}\r\n", b"400", no_address),
        (f"POST http://]/api/echo HTTP/1.1\r\n{host}\r\n", b"400", no_address),
        (f"BREW http://[ HTTP/1.1\r\n{host}\r\n", b"501", "Unsupported method ('BREW')"),
        (f"POST /api/echo HTTP/1.1\r\n{host}\r\n", b"415", "send application/json"),
        ("NONSENSE\r\n\r\n", b"400", "Bad request syntax ('NONSENSE')"),
    ):
        head, _, body = exchange(server, text).partition(b"\r\n\r\n")
        assert status in head.split(b"\r\n")[0], head
        assert json.loads(body) == {"error": message}
    assert "Traceback" not in capsys.readouterr().err


def test_silent_connections_keep_nobody_out(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = threading.active_count()
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(3 * MAX_CONNECTIONS)]
        for connection in connections[::2]:
            connection.sendall(b"POST /api/echo HTTP/1.1\r\nHo")
        for number in range(3):  # each within the seconds of `send`, fewer than of a silent one
            response, content = send(server, "POST", "/api/echo", str(number), **JSON)
            assert (response.status, json.loads(content)) == (200, number)
        end = time.monotonic() + 10
        while threading.active_count() > threads + MAX_CONNECTIONS:
            assert time.monotonic() < end, "threads of closed connections go on"
            time.sleep(0.01)
        assert connections[1].recv(1) == b""  # closed
    assert "Traceback" not in capsys.readouterr().err


def test_a_connection_that_its_client_has_ended_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "MAX_CONNECTIONS", 1)
    count = {"GET": lambda request: json_response(len(request.server.connections))}
    with serve(Server(PAGE, {"/count": count}, 0)) as server, socket.socket() as ended:
        server.connections[ended] = None
        threading.Timer(0.1, server.shutdown_request, [ended]).start()  # as its thread does
        assert send(server, "GET", "/count")[1] == b"1"


def test_a_connection_that_waits_for_its_thread_can_be_closed(server: Server) -> None:
    with socket.socket() as waiting:
        server.shutdown_request(waiting)  # as Ctrl-C has it
        assert waiting.fileno() == -1


def test_a_silent_connection_is_closed_after_a_while(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.2)
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHo")
        assert connection.recv(1) == b""
    assert "Traceback" not in capsys.readouterr().err


def test_a_connection_that_sends_requests_outlives_silent_ones(server: Server) -> None:
    with ExitStack() as stack:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        stack.callback(connection.close)
        for _ in range(MAX_CONNECTIONS + 8):
            connection.request("GET", "/api/query?q=a")
            first_socket = connection.sock
            assert json.loads(connection.getresponse().read()) == {"q": "a"}
            assert connection.sock is first_socket
            stack.enter_context(connect(server))


def test_a_client_that_hangs_up_leaves_no_traceback(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in (b"", b"POST /api/echo HTTP/1.1\r\nHo"):
        connection = connect(server)
        connection.sendall(text)
        # The operating system resets the connection instead of ending it.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    for _ in range(200):
        if not server.connections:
            break
        time.sleep(0.05)
    assert server.connections == {}
    assert "Traceback" not in capsys.readouterr().err


def test_a_connection_is_kept_for_the_next_request(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    sockets = set()
    for number in range(3):
        connection.request("POST", "/api/echo", str(number), JSON)
        sockets.add(connection.sock)
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read()) == number
    assert len(sockets) == 1
    connection.close()


def test_the_policy_lets_only_the_script_and_style_of_the_page_run(server: Server) -> None:
    policy = send(server, "GET", "/")[0].headers["Content-Security-Policy"]
    assert policy == content_security_policy(PAGE)
    script, style = (
        base64.b64encode(hashlib.sha256(text).digest()).decode()
        for text in (b"'use strict';", b"b {}")
    )
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
        "connect-src 'self'; img-src data:; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    assert content_security_policy(PAGE.replace("use strict", "use laxness")) != policy
    assert content_security_policy(PAGE.replace("b {}", "i {}")) != policy


def test_the_cause_of_an_internal_error_is_not_shown_to_the_client(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    response, content = send(server, "GET", "/bug")
    assert response.status == 500
    assert json.loads(content) == {"error": "something went wrong"}
    assert "ZeroDivisionError" in capsys.readouterr().err
