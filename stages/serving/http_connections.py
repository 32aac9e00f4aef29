"""The connections of the HTTP service: limited in number, and none is silent for long."""

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64
# Requests on more connections get status 503. uvicorn's own limit answers in plain text, and
# refuses established connections too as long as silent ones exceed it.
MAX_SURPLUS = 64  # further connections; above them, new ones are closed at once
HEAD_SECONDS = 10  # until the head of a request has to be complete
KEEP_ALIVE_SECONDS = 75  # more than the minute for which load balancers keep a silent connection
SURPLUS = "is_surplus"  # the key in the state of a request's scope


class Connection(H11Protocol):
    """A connection that is closed if no whole head of a request arrives in time.

    uvicorn limits only the pause after a response, and any byte ends that limit.
    """

    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the first request; `asyncio` calls this."""
        super().connection_made(transport)
        # A response is written in parts. Otherwise the second waits up to 40 ms for the client's
        # acknowledgement of the first; asyncio sees to it only for sockets of some makes.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, SURPLUS: len(self.connections) > MAX_CONNECTIONS}
        if len(self.connections) > MAX_CONNECTIONS + MAX_SURPLUS:
            transport.abort()
        self._limit(HEAD_SECONDS)

    def on_response_complete(self) -> None:
        """Start the time for the next request; uvicorn calls this."""
        super().on_response_complete()
        self._limit(self.timeout_keep_alive + HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time; `asyncio` calls this."""
        if self.timer:
            self.timer.cancel()
        super().connection_lost(exc)

    def _limit(self, seconds: float) -> None:
        """Close the connection in some seconds, unless a response is under way then."""
        if self.timer:
            self.timer.cancel()
        self.timer = self.loop.call_later(seconds, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()  # `close` would wait for a client that does not read

    def send_400_response(self, msg: str) -> None:
        """Answer to what is no HTTP, as JSON; uvicorn calls this."""
        body = b'{"error": "this is no HTTP request; send one"}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            events = (h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),)
            events += (h11.Data(data=body), h11.EndOfMessage())
            for event in events:
                self.transport.write(self.conn.send(event))
        self.transport.close()
