"""A way to the broker that reads along, and can hold, cut, refuse and close."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import pika
import pika.frame
from pika import spec

from surge.contract.wire import Event, Frames, event_of

__all__ = ["Relay"]


@dataclass(eq=False)
class _Line:
    number: int
    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    deliver: tuple[int, int] | None = None  # channel and tag of the message whose header comes next

    def cut(self) -> None:
        for writer in (self.client, self.broker):
            writer.transport.abort()


class Relay:
    """Listens on a port of its own while the block runs; `url` leads through it to the same broker.

    events: what went by, in order. hold_s: how long consume-ok, and what follows it, is held back.
    refusing: nobody gets through. cut_at_ack: the next ack does not arrive; its connection is cut.
    """

    def __init__(self, url: str) -> None:
        self._upstream = pika.URLParameters(url)
        self._url = url
        self._server: asyncio.Server | None = None
        self._lines: list[_Line] = []
        self._count = 0
        self.events: list[Event] = []
        self.hold_s = 0.0
        self.refusing = False
        self.cut_at_ack = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None  # noqa: S101 -- the block has begun
        parts = urlsplit(self._url)
        port = self._server.sockets[0].getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        return urlunsplit(("amqp", f"{login}@127.0.0.1:{port}", parts.path, "", ""))

    def cut(self) -> None:
        """End every connection without a word, as a broken network does."""
        for line in self._lines:
            line.cut()

    def close_by_broker(self) -> None:
        """Say what a broker says whose operator closes a connection."""
        close = spec.Connection.Close(320, "CONNECTION_FORCED - surge worker check", 0, 0)
        for line in self._lines:
            line.client.write(pika.frame.Method(0, close).marshal())
            line.broker.transport.abort()

    def note(self, kind: str, value: Any) -> None:
        self.events.append(Event(self._now(), kind, value=value))

    async def _connect(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self.refusing:
            client.transport.abort()
            return
        try:
            far, broker = await self._open()
        except OSError:
            client.transport.abort()
            return
        self._count += 1
        line = _Line(self._count, client, broker)
        self._lines.append(line)
        await asyncio.gather(
            self._pump(reader, broker, lambda frame: self._from_worker(line, frame)),
            self._pump(far, client, lambda frame: self._from_broker(line, frame)),
        )
        self._lines.remove(line)
        self.events.append(Event(self._now(), "gone", line.number))

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port, tls = self._upstream.host, self._upstream.port, self._upstream.ssl_options
        if tls is None:
            return await asyncio.open_connection(host, port)
        name = tls.server_hostname or host
        return await asyncio.open_connection(host, port, ssl=tls.context, server_hostname=name)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[Any], Any]
    ) -> None:
        frames = Frames()
        with suppress(OSError, asyncio.IncompleteReadError):
            while block := await reader.read(65536):
                for frame, raw in frames.feed(block):
                    await look(frame)
                    writer.write(raw)
                await writer.drain()
        with suppress(OSError, RuntimeError):
            writer.close()

    async def _from_worker(self, line: _Line, frame: Any) -> None:
        event = event_of(frame, self._now(), line.number)
        if event is None:
            return
        if event.kind == "ack" and self.cut_at_ack:
            self.cut_at_ack = False
            self.refusing = True
            self.note("cut", line.number)
            line.cut()
            raise ConnectionResetError
        self.events.append(event)

    async def _from_broker(self, line: _Line, frame: Any) -> None:
        method = getattr(frame, "method", None)
        if isinstance(method, spec.Basic.Deliver):
            line.deliver = (frame.channel_number, int(method.delivery_tag or 0))
        elif isinstance(frame, pika.frame.Header) and line.deliver is not None:
            channel, tag = line.deliver
            message = frame.properties.message_id
            self.events.append(Event(self._now(), "deliver", line.number, channel, tag, message))
            line.deliver = None
        elif isinstance(method, spec.Basic.ConsumeOk) and self.hold_s:
            await asyncio.sleep(self.hold_s)
        if (event := event_of(frame, self._now(), line.number)) is not None:
            self.events.append(event)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
