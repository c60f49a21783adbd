"""Bounds that uvicorn has not: connections, the size of a request's head, and the time it may take.

uvicorn's own `limit_concurrency` answers 503 on every connection once there are too many: whoever
opens them all would shut KEDA out. Here the newest one goes, and those that are served stay.
"""

import asyncio
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from metrics_server.config import Limits

__all__ = ["bounded"]

log = structlog.get_logger("server")

# From the connection, or the first byte of a request, until its head is whole.
HEAD_S = 10.0
SAY_AGAIN_S = 60.0
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def bounded(limits: Limits) -> type[HttpToolsProtocol]:
    """Return the protocol of one server."""
    said_at = float("-inf")

    class Bounded(HttpToolsProtocol):
        def __init__(self, *args: Any, **others: Any) -> None:
            super().__init__(*args, **others)
            self.head_bytes = 0
            self.hurry: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._say_full()
                transport.abort()
            else:
                self.hurry = self.loop.call_later(HEAD_S, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._calm()
            # uvicorn lets the timer of a connection that broke hold its memory until it runs out.
            self._unset_keepalive_if_required()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            self.head_bytes += len(data)
            if self.head_bytes > limits.request_bytes:
                self._refuse()
                return
            super().data_received(data)
            if self.head_bytes and self.hurry is None and not self.transport.is_closing():
                self.hurry = self.loop.call_later(HEAD_S, self.transport.abort)

        def on_headers_complete(self) -> None:
            self.head_bytes = 0
            self._calm()
            super().on_headers_complete()

        def _calm(self) -> None:
            if self.hurry is not None:
                self.hurry.cancel()
                self.hurry = None

        def _refuse(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(TOO_LARGE)
            self.transport.close()

        def _say_full(self) -> None:
            nonlocal said_at
            if self.loop.time() - said_at > SAY_AGAIN_S:
                said_at = self.loop.time()
                log.warning("connection closed, there are too many", limit=limits.connections)

    return Bounded
