"""What uvicorn has not: bounds of a request's head, in size and in time, and answers without a task."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from metrics_server.config import Limits

__all__ = ["Bounded"]

# For a TLS handshake, and after it or the first byte of a request until the head is whole.
HEAD_S = 10.0
OK = b"HTTP/1.1 200 OK\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

AtOnce = Callable[[bytes, Iterable[tuple[bytes, bytes]]], bytes | None]


class Bounded(HttpToolsProtocol):
    """uvicorn's protocol with `limits`.

    at_once: given the target and the headers of a GET, headers and body of its answer 200, or None where the
    application has to be asked.
    """

    def __init__(self, *, limits: Limits, at_once: AtOnce, **others: Any) -> None:
        super().__init__(**others)
        self.limits, self.at_once = limits, at_once
        self.head_bytes = 0
        self.hurry: asyncio.TimerHandle | None = None
        self.answered = False

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
        if self.head_bytes > self.limits.request_bytes:
            self._refuse()
            return
        super().data_received(data)
        if self.head_bytes and self.hurry is None and not self.transport.is_closing():
            self.hurry = self.loop.call_later(HEAD_S, self.transport.abort)

    def on_headers_complete(self) -> None:
        self.head_bytes = 0
        self._calm()
        self.answered = self._answer_at_once()
        if not self.answered:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.answered:
            super().on_message_complete()

    def _answer_at_once(self) -> bool:
        """Write the answer, in one piece, if it is there and its turn has come; else uvicorn has to."""
        if not self._is_idle() or self.flow.write_paused or not self._is_plain():
            return False
        try:
            answer = self.at_once(self.url, self.headers)
        except Exception:  # noqa: BLE001 - uvicorn meets it as well, logs it and answers 500
            return False
        if answer is None:
            return False
        always = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self.transport.write(b"".join((OK, *always, answer)))
        self.on_response_complete()
        return True

    def _is_idle(self) -> bool:
        """Whether every request before this one is answered."""
        return self.cycle is None or self.cycle.response_complete

    def _is_plain(self) -> bool:
        """Whether this is a GET after which the connection stays as it is."""
        parser = self.parser
        return (
            parser is not None  # as it is when the connection is lost
            and parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
        )

    def _calm(self) -> None:
        if self.hurry is not None:
            self.hurry.cancel()
            self.hurry = None

    def _refuse(self) -> None:
        if self._is_idle():
            self.transport.write(TOO_LARGE)
        self.transport.close()
