"""The metrics of the HTTP service, in Prometheus's text format."""

import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # bounds of the histogram
OTHER = "other"  # stands for all paths and methods that are not served, so that series stay few
METHODS = ("GET", "HEAD", "POST")
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """Counts requests and their seconds, around an ASGI application."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        """Count by path for each of `paths`, and together for all others."""
        self.paths = paths
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recommender_requests",
            "Responses by path, method and status.",
            ["path", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "recommender_request_seconds",
            "Seconds from the head of a request to the end of its response, by path.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.pending = Gauge(
            "recommender_pending",
            "Requests that wait for the model or are computed.",
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with every response counted, those of errors too.

        A request that ends without a response is counted as 499.
        """

        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            status, start = 499, time.perf_counter()

            async def noting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noting)
            finally:
                path = scope["path"] if scope["path"] in self.paths else OTHER
                method = scope["method"] if scope["method"] in METHODS else OTHER
                self.requests.labels(path, method, str(status)).inc()
                self.seconds.labels(path).observe(time.perf_counter() - start)

        return counting
