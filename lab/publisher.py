"""Publishes requests when they are due, whatever the broker and the workers do (an open loop).

Persistent, mandatory, confirmed. A message whose confirm was lost with the connection is published
again under the same id and counts once. `published-at-us` is when the request was due, so that an
outage of the broker shows in the waits instead of being left out of them.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.spec import Basic

__all__ = ["Arrival", "Published", "Publisher", "ScheduleError", "UnroutableError"]

EXCHANGE = "filters"
BODY = b"photo"
MOST_LAG_S = 5.0
MOST_UNCONFIRMED = 5_000
AGAIN_S = 0.5
LOOK_S = 0.1


class ScheduleError(Exception):
    """The publisher fell behind though the broker was there: what follows would not be the load asked for."""


class UnroutableError(Exception):
    """No queue takes the messages of a filter."""


@dataclass(frozen=True)
class Arrival:
    """at_s: wall seconds after the start of the play."""

    at_s: float
    filter: str


@dataclass(frozen=True)
class Published:
    """at: unix seconds at which the request was due."""

    message_id: str
    filter: str
    at: float


class Publisher:
    """Connects while the block runs, and again after every loss.

    confirmed: every message the broker has taken over, in the order of the confirms.
    again: ids that were published more than once; the broker may hold two copies of them.
    lag_s: the longest a message was sent after it was due while the broker was there.
    """

    def __init__(self, url: str, *, most_lag_s: float = MOST_LAG_S) -> None:
        self._parameters = pika.URLParameters(url)
        self._most_lag_s = most_lag_s
        self._channel: Channel | None = None
        self._open_since = 0.0
        self._tag = 0
        self._unconfirmed: dict[int, Published] = {}
        self._waiting: deque[Published] = deque()
        self._failure: Exception | None = None
        self._connector: asyncio.Task[None] | None = None
        self.confirmed: list[Published] = []
        self.counts: Counter[str] = Counter()
        self.again: set[str] = set()
        self.lag_s = 0.0
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._connector = asyncio.create_task(self._keep_connected(), name="publisher")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connector is not None:
            self._connector.cancel()
            await asyncio.gather(self._connector, return_exceptions=True)

    async def play(self, arrivals: Iterable[Arrival], *, stop: Callable[[], bool] = lambda: False) -> None:
        """Publish every arrival when it is due, until they end or `stop()`.

        Raises ScheduleError, UnroutableError.
        """
        began, began_unix = time.monotonic(), time.time()
        for arrival in arrivals:
            while (left := began + arrival.at_s - time.monotonic()) > 0:
                if stop():
                    return
                await asyncio.sleep(min(left, LOOK_S))
                self._flush()
            if stop():
                return
            self._waiting.append(Published(str(uuid4()), arrival.filter, began_unix + arrival.at_s))
            self._flush()
            # A play that is behind must still let confirms and the loss of the connection in.
            await asyncio.sleep(0)

    async def settle(self, timeout_s: float) -> int:
        """Wait for the confirms that are still out; return how many messages stay without one."""
        end = time.monotonic() + timeout_s
        while (out := len(self._unconfirmed) + len(self._waiting)) and time.monotonic() < end:
            await asyncio.sleep(LOOK_S)
            self._flush()
        return out

    def _flush(self) -> None:
        """Send what is due, as far as the broker is there and keeps up with its confirms."""
        if self._failure is not None:
            raise self._failure
        while self._waiting and self._channel is not None and len(self._unconfirmed) < MOST_UNCONFIRMED:
            message = self._waiting.popleft()
            self._send(self._channel, message)
            self._note_lag(message)
        if self._channel is not None and self._waiting:
            self._note_lag(self._waiting[0])

    def _send(self, channel: Channel, message: Published) -> None:
        self._tag += 1
        self._unconfirmed[self._tag] = message
        properties = pika.BasicProperties(
            message_id=message.message_id,
            delivery_mode=2,
            headers={"published-at-us": round(message.at * 1e6)},
        )
        channel.basic_publish(EXCHANGE, message.filter, BODY, properties, mandatory=True)

    def _note_lag(self, message: Published) -> None:
        if message.at < self._open_since:
            return  # it was due while the broker was away
        self.lag_s = max(self.lag_s, time.time() - message.at)
        if self.lag_s > self._most_lag_s:
            self._failure = ScheduleError(
                f"messages go out {self.lag_s:.1f} s after they were due, with the broker there: this machine "
                "is too slow for the load, and a load that waits for the system proves nothing. "
                "Stop what else runs here, or take a smaller shape: --shape lab/shapes/smoke.yaml"
            )
            raise self._failure

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            closed: asyncio.Future[None] = loop.create_future()
            connection = AsyncioConnection(
                self._parameters,
                on_open_callback=lambda opened: opened.channel(on_open_callback=self._on_channel),
                on_open_error_callback=lambda *_, end=closed: _end(end),
                on_close_callback=lambda *_, end=closed: _end(end),
                custom_ioloop=loop,
            )
            try:
                await closed
            finally:
                self._lost()
                if connection.is_open:
                    connection.close()
                    await asyncio.sleep(0.2)
            await asyncio.sleep(AGAIN_S)

    def _on_channel(self, channel: Channel) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(lambda *_: _close(channel))
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._on_open(channel))

    def _on_open(self, channel: Channel) -> None:
        self._tag = 0
        self._channel = channel
        self._open_since = time.time()
        self.connections += 1

    def _lost(self) -> None:
        """What is not confirmed goes first when the broker is back."""
        self._channel = None
        unconfirmed = [self._unconfirmed[tag] for tag in sorted(self._unconfirmed)]
        self._unconfirmed.clear()
        self._repeat(unconfirmed)

    def _repeat(self, messages: list[Published]) -> None:
        self.again.update(message.message_id for message in messages)
        self._waiting.extendleft(reversed(messages))

    def _on_confirm(self, frame: pika.frame.Method) -> None:
        method = frame.method
        if method.multiple:
            tags = sorted(tag for tag in self._unconfirmed if tag <= method.delivery_tag)
        else:
            tags = [method.delivery_tag]
        messages = [self._unconfirmed.pop(tag) for tag in tags if tag in self._unconfirmed]
        if isinstance(method, Basic.Ack):
            self.confirmed.extend(messages)
            self.counts.update(message.filter for message in messages)
        else:
            self._repeat(messages)

    def _on_return(self, _channel: Channel, method: Basic.Return, _properties: object, _body: bytes) -> None:
        self._failure = UnroutableError(
            f"the broker has no queue for filter {method.routing_key} ({method.reply_text}): its requests "
            "would be dropped. The filter must be in filters.yaml and up: surge up local"
        )


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _close(channel: Channel) -> None:
    """A channel the broker closed takes its connection with it: both are made anew."""
    if channel.connection.is_open:
        channel.connection.close()
