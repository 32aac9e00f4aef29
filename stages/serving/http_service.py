"""The HTTP service as an ASGI application: recommendations, titles, health and metrics as JSON.

Requests are read and answered side by side; one thread computes them, one after the other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import polars as pl
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stages.common.stage import StageError
from stages.serving.api import Recommender
from stages.serving.http_connections import MAX_CONNECTIONS, SURPLUS
from stages.serving.http_metrics import CONTENT_TYPE, Metrics
from stages.serving.http_requests import (
    MAX_BODY,
    MAX_MATCHES,
    FormError,
    parse_query,
    parse_recommendation,
)

MAX_PENDING = 32  # requests that wait for the model or are computed
COMPUTE_SECONDS = 10  # for a request, with its wait for those before it
BODY_SECONDS = 10  # until the body of a request has to be complete
HANGUP = 499  # the status in the metrics, as nginx has it, of a client that hangs up early
RETRY = {"Retry-After": "1"}
BUSY = "the service is busy; try again later"
MESSAGES = {
    404: "there is nothing here; see docs/serving.md for the paths",
    405: "this path does not take this method; use one of the header Allow",
}


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error as JSON."""
    return JSONResponse({"error": message}, status, headers=headers)


def rows_response(name: str, rows: str) -> Response:
    """Return rows, which are lines of JSON, as a list in an object with one field."""
    text = f'{{"{name}":[{rows.rstrip().replace(chr(10), ",")}]}}'
    return Response(text, media_type="application/json")


async def read_body(request: Request) -> bytes:
    """Return the body of a request of JSON.

    Raises:
        FormError: It has another type (415), is too long (413), or does not arrive in time (408).
    """
    content_type = request.headers.get("Content-Type", "").partition(";")[0]
    if content_type.strip().lower() != "application/json":
        raise FormError(415, "Content-Type: is not application/json; send JSON")
    body = b""
    length = request.headers.get("Content-Length", "0")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            # uvicorn has checked that the length is a number. One that is too large is not read.
            too_long = int(length) > MAX_BODY
            chunks = aiter(request.stream())
            while not too_long and (chunk := await anext(chunks, None)) is not None:
                body += chunk
                too_long = len(body) > MAX_BODY
    except TimeoutError:
        raise FormError(408, f"body: is not here after {BODY_SECONDS} s; send it faster") from None
    if too_long:
        raise FormError(413, f"body: is too long; send up to {MAX_BODY} bytes")
    return body


class Service:
    """The routes, and the thread that computes."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.metrics = Metrics(("/recommendations", "/movies", "/health", "/metrics"))
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recommender")
        self.pending = 0

    async def compute(self, function: Callable[[], pl.DataFrame]) -> str:
        """Return the rows of a table as lines of JSON, computed in the thread.

        Raises:
            FormError: The recommender refuses the arguments (422).
            HTTPException: Too many requests wait, or the time is up (503).
        """
        if self.pending >= MAX_PENDING:
            raise HTTPException(503, BUSY, RETRY)
        self.pending += 1
        self.metrics.pending.set(self.pending)
        loop = asyncio.get_running_loop()
        try:
            # At the end of the time, a request that is still waiting leaves the queue.
            async with asyncio.timeout(COMPUTE_SECONDS):
                return await loop.run_in_executor(self.pool, lambda: function().write_ndjson())
        except TimeoutError:
            raise HTTPException(503, BUSY, RETRY) from None
        except StageError as error:
            raise FormError(422, str(error)) from None
        finally:
            self.pending -= 1
            self.metrics.pending.set(self.pending)

    async def recommendations(self, request: Request) -> Response:
        """Answer `POST /recommendations`."""
        arguments = parse_recommendation(await read_body(request))
        rows = await self.compute(partial(self.recommender.recommend, **arguments))
        return rows_response("recommendations", rows)

    async def movies(self, request: Request) -> Response:
        """Answer `GET /movies?q=`."""
        text = parse_query(request.query_params.multi_items())
        rows = await self.compute(partial(self.recommender.search, text, MAX_MATCHES))
        return rows_response("movies", rows)

    async def health(self, request: Request) -> Response:
        """Answer `GET /health`, without waiting for the model."""
        size = {"ranker": self.recommender.ranker, "movies": self.recommender.num_movies}
        return JSONResponse({"status": "ok", **size})

    async def metrics_text(self, request: Request) -> Response:
        """Answer `GET /metrics`."""
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Stop the thread at the end, without the requests that nobody waits for any more."""
        yield
        self.pool.shutdown(cancel_futures=True)

    def app(self) -> ASGIApp:
        """Return the ASGI application."""
        routes = [
            Route("/recommendations", self.recommendations, methods=["POST"]),
            Route("/movies", self.movies),
            Route("/health", self.health),
            Route("/metrics", self.metrics_text),
        ]
        handlers = {
            FormError: on_form_error,
            HTTPException: on_http_exception,
            ClientDisconnect: on_disconnect,
            Exception: on_bug,
        }
        app = Starlette(routes=routes, exception_handlers=handlers, lifespan=self.lifespan)
        app.router.redirect_slashes = False
        return self.metrics.around(without_surplus(app))


def without_surplus(app: ASGIApp) -> ASGIApp:
    """Return `app` with status 503 for requests on connections above the limit."""
    message = f"there are more than {MAX_CONNECTIONS} connections; try again later"
    refusal = error_response(503, message, {**RETRY, "Connection": "close"})

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        is_surplus = scope["type"] == "http" and scope.get("state", {}).get(SURPLUS)
        await (refusal if is_surplus else app)(scope, receive, send)

    return limited


async def on_form_error(request: Request, error: FormError) -> Response:
    """Answer a request that is not as it has to be."""
    headers = {"Connection": "close"} if error.status == 408 else None
    return error_response(error.status, str(error), headers)


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    """Answer with the status and headers of an exception of Starlette, or of `compute`."""
    message = MESSAGES.get(error.status_code, error.detail)
    return error_response(error.status_code, message, dict(error.headers or {}))


async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
    """Return a response that nobody reads any more; nothing is logged."""
    return error_response(HANGUP, "body: has ended early; send all of it")


async def on_bug(request: Request, error: Exception) -> Response:
    """Answer without the cause; Starlette raises it again, and uvicorn logs its traceback."""
    return error_response(500, "something went wrong; see the service's log")
