"""Bounds that uvicorn has not: the size of a request's head, and the time it may take."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from metrics_server.config import Limits

__all__ = ["bounded"]

# For a TLS handshake, and after it or the first byte of a request until the head is whole.
HEAD_S = 10.0
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def bounded(limits: Limits) -> type[HttpToolsProtocol]:
    """Return the protocol of one server."""

    class Bounded(HttpToolsProtocol):
        def __init__(self, *args: Any, **others: Any) -> None:
            super().__init__(*args, **others)
            self.head_bytes = 0
            self.hurry: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
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

    return Bounded
