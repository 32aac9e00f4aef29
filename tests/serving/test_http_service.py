"""The HTTP service as its clients see it."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pytest
from starlette.types import Receive, Scope, Send

from stages.serving import Recommender, http_service
from stages.serving.http_requests import MAX_BODY
from stages.serving.http_service import Service, without_surplus
from stages.serving.pipeline import ServingPipeline
from tests.serving.http_client import JSON, Address, send, serve_app

PATH = "/recommendations"
MESSAGES = {
    404: "there is nothing here; see docs/serving.md for the paths",
    405: "this path does not take this method; use one of the header Allow",
    413: "body: is too long; send up to 16384 bytes",
    415: "Content-Type: is not application/json; send JSON",
}


class Stub:
    """A recommender whose answers wait for a test, and that has a bug."""

    ranker, num_movies = "none", 0

    def __init__(self) -> None:
        self.may_go, self.calls = threading.Event(), []

    def recommend(self, **arguments: Any) -> pl.DataFrame:
        self.calls.append(arguments["user"])
        if arguments["user"] == "bug":
            raise ZeroDivisionError("secret")
        assert self.may_go.wait(10)
        return pl.DataFrame({"movie_id": [arguments["k"]]})


@pytest.fixture(scope="module")
def api(recommender: ServingPipeline) -> Recommender:
    return Recommender(recommender)


@pytest.fixture(scope="module")
def server(api: Recommender) -> Iterator[Address]:
    with serve_app(Service(api).app()) as running:
        yield running


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def stub_server(stub: Stub) -> Iterator[Address]:
    with serve_app(Service(stub).app()) as running:
        yield running
        stub.may_go.set()


def post(server: Address, body: Any) -> tuple[int, Any]:
    response, content = send(server, "POST", PATH, json.dumps(body), **JSON)
    assert response.headers["Content-Type"] == "application/json"
    return response.status, json.loads(content)


def metric(server: Address, name: str) -> float:
    """Return the value of a metric, or 0 before its first."""
    text = send(server, "GET", "/metrics")[1].decode()
    match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0


@pytest.mark.parametrize(
    "body",
    [
        {"user": 42},
        {"user": "42", "liked": ["3", 7], "disliked": [9], "seen": ["Film, No. 11 (1990)"], "k": 7},
        {"ratings": {"3": 5, "7": 2.5}, "k": 100},
        {"seen": [1], "k": 1},
    ],
)
def test_the_rows_are_those_of_the_recommender(
    server: Address, api: Recommender, body: dict[str, Any]
) -> None:
    rows = json.loads(api.recommend(**body).write_json())
    assert post(server, body) == (200, {"recommendations": rows})
    assert rows


def test_who_has_seen_all_movies_gets_an_empty_list(server: Address) -> None:
    body = {"seen": list(range(1, 41))}
    assert post(server, body) == (200, {"recommendations": []})


def test_movies_are_found_by_their_titles(server: Address, api: Recommender) -> None:
    content = json.loads(send(server, "GET", "/movies?q=film+no+7")[1])
    first = content["movies"][0]
    assert first == api.search("film no 7").to_dicts()[0]
    assert (first["movie_id"], first["title"]) == (7, "Film, No. 7 (1986)")
    assert len(json.loads(send(server, "GET", "/movies")[1])["movies"]) == 12


def test_health_names_the_ranker_and_counts_the_movies(
    server: Address, recommender: ServingPipeline
) -> None:
    response, content = send(server, "GET", "/health")
    expected = {"status": "ok", "ranker": recommender.settings.ranker, "movies": 40}
    assert (response.status, json.loads(content)) == (200, expected)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", PATH, "{", JSON, 400),
        ("POST", PATH, b"\xff", JSON, 400),
        ("GET", "/nowhere", None, {}, 404),
        ("GET", "/health/", None, {}, 404),
        ("GET", "/%2e%2e/params.yaml", None, {}, 404),
        ("GET", PATH, None, {}, 405),
        ("POST", "/health", None, {}, 405),
        ("BREW", "/movies", None, {}, 405),
        ("POST", PATH, b" " * (MAX_BODY + 1), JSON, 413),
        ("POST", PATH, b'{"user": 42}'.ljust(MAX_BODY), JSON, 200),
        ("POST", PATH, None, {**JSON, "Content-Length": "99999999999"}, 413),
        ("POST", PATH, "{}", {}, 415),
        ("POST", PATH, "{}", {"Content-Type": "text/plain; application/json"}, 415),
        ("POST", PATH, "[]", JSON, 422),
        ("POST", PATH, '{"user": "nobody"}', JSON, 422),
        ("POST", PATH, '{"liked": ["no such film at all"]}', JSON, 422),
        ("POST", PATH, '{"liked": [3], "disliked": ["3"]}', JSON, 422),
        ("GET", "/movies?ids=3", None, {}, 422),
        ("POST", PATH, '{"user": 42, "k": 1}', {"Content-Type": "Application/JSON;v=1"}, 200),
        ("HEAD", "/health", None, {}, 200),
    ],
)
def test_every_request_gets_the_right_status_and_is_counted(
    server: Address,
    method: str,
    path: str,
    body: str | bytes | None,
    headers: dict[str, str],
    status: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    route = path.partition("?")[0]
    route = route if route in (PATH, "/movies", "/health") else "other"
    name = "other" if method == "BREW" else method
    count = f'recommender_requests_total{{method="{name}",path="{route}",status="{status}"}}'
    seconds = f'recommender_request_seconds_count{{path="{route}"}}'
    before = metric(server, count), metric(server, seconds)
    response, content = send(server, method, path, body, **headers)
    assert response.status == status
    assert (metric(server, count), metric(server, seconds)) == (before[0] + 1, before[1] + 1)
    if status >= 400:
        error = json.loads(content)
        assert list(error) == ["error"]
        assert re.fullmatch(r"[^\n]+", error["error"])
        assert "--" not in error["error"]
        assert error["error"] == MESSAGES.get(status, error["error"])
    assert response.headers["Connection"] is None
    if status == 405:
        assert set(response.headers["Allow"].split(", ")) <= {"GET", "HEAD", "POST"}
    assert "Traceback" not in capfd.readouterr().err
    assert "Server" not in response.headers


def test_an_error_of_the_recommender_is_the_message(server: Address) -> None:
    error = {"error": "user nobody: not in the data; give others, or movies that you like"}
    assert post(server, {"user": "nobody"}) == (422, error)


def test_the_metrics_are_plain_text_for_prometheus(server: Address) -> None:
    kind = send(server, "GET", "/metrics")[0].headers["Content-Type"]
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert metric(server, 'recommender_requests_total{method="GET",path="/metrics",status="200"}')


def test_a_body_in_chunks_is_read_up_to_the_limit(server: Address) -> None:
    chunks = {**JSON, "Transfer-Encoding": "chunked"}
    short = b'a\r\n{"user":42\r\n1\r\n}\r\n0\r\n\r\n'
    assert send(server, "POST", PATH, short, **chunks)[0].status == 200
    full = b"4000\r\n" + b'{"user":42}'.ljust(MAX_BODY) + b"\r\n0\r\n\r\n"
    assert send(server, "POST", PATH, full, **chunks)[0].status == 200
    long = b"4000\r\n" + b" " * 0x4000 + b"\r\n1\r\n \r\n0\r\n\r\n"
    assert send(server, "POST", PATH, long, **chunks)[0].status == 413


def test_the_cause_of_a_bug_is_in_the_log_only(capfd: pytest.CaptureFixture[str]) -> None:
    with serve_app(Service(Stub()).app()) as server:
        status, content = post(server, {"user": "bug"})
        assert (status, content) == (500, {"error": "something went wrong; see the service's log"})
        count = f'recommender_requests_total{{method="POST",path="{PATH}",status="500"}}'
        assert metric(server, count) == 1
    assert "ZeroDivisionError: secret" in capfd.readouterr().err


def test_the_thread_ends_with_the_service(stub: Stub) -> None:
    service = Service(stub)
    with serve_app(service.app()) as server:
        stub.may_go.set()
        assert post(server, {"user": 1})[0] == 200
    with pytest.raises(RuntimeError, match="after shutdown"):
        service.pool.submit(stub.recommend)


def test_a_server_that_counts_no_connections_has_no_surplus() -> None:
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    asyncio.run(without_surplus(app)({"type": "http"}, None, None))
    assert scopes == [{"type": "http"}]


def wait_for_pending(server: Address, count: int) -> None:
    for _ in range(1000):
        if metric(server, "recommender_pending") == count:
            return
    raise AssertionError(f"{count} requests never waited")


def test_too_many_requests_at_once_get_503_and_health_does_not_wait(
    stub: Stub, stub_server: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_service, "MAX_PENDING", 2)
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(post, stub_server, {"user": user, "k": 3}) for user in (1, 2)]
        wait_for_pending(stub_server, 2)
        response, content = send(stub_server, "POST", PATH, '{"user": 3}', **JSON)
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert json.loads(content) == {"error": "the service is busy; try again later"}
        assert send(stub_server, "GET", "/health")[0].status == 200
        assert len(stub.calls) == 1  # one at a time
        stub.may_go.set()
        expected = (200, {"recommendations": [{"movie_id": 3}]})
        assert [future.result() for future in futures] == [expected] * 2
    assert metric(stub_server, "recommender_pending") == 0


def test_a_request_that_waits_too_long_gets_503_and_is_not_computed(
    stub: Stub, stub_server: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_service, "COMPUTE_SECONDS", 0.2)
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(post, stub_server, {"user": user}) for user in (1, 2)]
        busy = (503, {"error": "the service is busy; try again later"})
        assert [future.result() for future in futures] == [busy] * 2
        response, _ = send(stub_server, "POST", PATH, '{"user": 4}', **JSON)
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    stub.may_go.set()
    assert post(stub_server, {"user": 3})[0] == 200
    assert len(stub.calls) == 2
    assert stub.calls[1] == 3
