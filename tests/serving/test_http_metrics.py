"""What the HTTP service counts."""

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from stages.serving import http_metrics
from stages.serving.http_metrics import Metrics


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Send what the scope says; then fail, if it says so."""
    for message in scope["messages"]:
        await send(message)
    if "error" in scope:
        raise scope["error"]


def ask(app: ASGIApp, *statuses: int, **scope: Any) -> list[dict[str, Any]]:
    """Return the messages that a request of these statuses is answered with."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    messages = [{"type": "http.response.start", "status": status} for status in statuses]
    messages += [{"type": "http.response.body", "status": 999}]
    scope = {"type": "http", "method": "GET", "path": "/a", "messages": messages} | scope
    asyncio.run(app(scope, None, send))
    return sent


def values(metrics: Metrics, name: str) -> dict[str, float]:
    """Return the values of a metric by its labels."""
    lines = [line.rsplit(" ", 1) for line in metrics.text().decode().splitlines()]
    return {text.removeprefix(name): float(n) for text, n in lines if text.startswith(name + "{")}


def test_every_metric_is_described() -> None:
    text = Metrics(("/a",)).text().decode()
    for line in (
        "# HELP recommender_requests_total Responses by path, method and status.",
        "# TYPE recommender_requests_total counter",
        "# HELP recommender_request_seconds Seconds from the head of a request to the end of its "
        "response, by path.",
        "# TYPE recommender_request_seconds histogram",
        "# HELP recommender_pending Requests that wait for the model or are computed.",
        "# TYPE recommender_pending gauge",
        "recommender_pending 0.0",
        "# TYPE process_resident_memory_bytes gauge",
    ):
        assert f"{line}\n" in text


def test_responses_are_counted_by_path_method_and_status() -> None:
    metrics = Metrics(("/a", "/b"))
    app = metrics.around(answer)
    assert [message["status"] for message in ask(app, 200)] == [200, 999]
    ask(app, 200)
    ask(app, 404, path="/b", method="POST")
    ask(app, 200, path="/c", method="HEAD")
    ask(app, 405, method="BREW")
    assert values(metrics, "recommender_requests_total") == {
        '{method="GET",path="/a",status="200"}': 2,
        '{method="POST",path="/b",status="404"}': 1,
        '{method="HEAD",path="other",status="200"}': 1,
        '{method="other",path="/a",status="405"}': 1,
    }
    counts = {'{path="/a"}': 3, '{path="/b"}': 1, '{path="other"}': 1}
    assert values(metrics, "recommender_request_seconds_count") == counts


def test_a_request_that_fails_or_gets_no_response_is_counted_too() -> None:
    metrics = Metrics(("/a",))
    app = metrics.around(answer)
    ask(app)
    for statuses in ((), (500,)):
        with pytest.raises(ZeroDivisionError):
            ask(app, *statuses, error=ZeroDivisionError())
    assert values(metrics, "recommender_requests_total") == {
        '{method="GET",path="/a",status="499"}': 2,
        '{method="GET",path="/a",status="500"}': 1,
    }


def test_the_seconds_are_those_between_the_request_and_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([100.0, 100.03])
    monkeypatch.setattr(http_metrics.time, "perf_counter", lambda: next(clock))
    metrics = Metrics(("/a",))
    ask(metrics.around(answer), 200)
    (seconds,) = values(metrics, "recommender_request_seconds_sum").values()
    assert seconds == pytest.approx(0.03)
    buckets = values(metrics, "recommender_request_seconds_bucket")
    assert list(buckets.values()) == [0, 0, 0, *[1] * 9]
    bounds = [label.partition('le="')[2].partition('"')[0] for label in buckets]
    assert [float(bound) for bound in bounds[:-1]] == list(http_metrics.SECONDS)


def test_what_is_no_request_is_passed_on_and_not_counted() -> None:
    metrics = Metrics(("/a",))
    sent = ask(metrics.around(answer), 200, type="lifespan")
    assert len(sent) == 2
    assert values(metrics, "recommender_requests_total") == {}
