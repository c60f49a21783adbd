"""One connection to the broker with one consumer on it: from the connect to the last ack.

A session of a pooled worker consumes its set's bell, and takes messages of other queues one by one.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.exceptions import AMQPError
from pika.spec import Basic, BasicProperties

from worker.job import Job
from worker.settings import Settings

__all__ = ["LostError", "Session"]

CONNECT_S = 15.0
# In this time after an ack the broker has checked out what the ack made room for, busy or not.
SETTLED_S = 0.2


class LostError(Exception):
    """The connection, the channel or the consumer went away without our asking."""


class Session:
    """deliver: called with each job and its delivery tag, in the event loop."""

    def __init__(self, settings: Settings, deliver: Callable[[Job, int], object]) -> None:
        self._settings = settings
        self._deliver = deliver
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connection: AsyncioConnection | None = None
        self._channel: Channel | None = None
        self._tag = ""
        self._delivered: set[int] = set()  # and not answered yet
        self._room_since = 0.0
        self._getting = asyncio.Lock()
        self._got = self._reply()
        self._may_answer = asyncio.Event()
        self._may_answer.set()

    async def open(self) -> None:
        """Connect and consume; returns after basic.consume-ok. Raises LostError."""
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await self._connect()
                self._channel = await self._open_channel(connection)
                await self._consume(self._channel)
        except (AMQPError, OSError, TimeoutError) as error:
            raise LostError(f"{type(error).__name__}: {error}") from error

    @property
    def is_open(self) -> bool:
        return self._channel is not None and self._channel.is_open and not self._lost.done()

    async def wait_lost(self) -> None:
        """Return never but by raising LostError."""
        raise LostError(await asyncio.shield(self._lost))

    async def cancel(self) -> None:
        """Ask the broker to send nothing more. What it has sent until it says so is still delivered.

        A quorum queue hands the next message out as soon as an ack makes room, and takes back, as
        redelivered, what crosses a cancel. So no ack goes out from here until the cancel is
        confirmed, and a cancel waits until nothing can be on its way for an earlier ack.
        """
        assert self._channel is not None  # noqa: S101 -- open() made it
        self._may_answer.clear()
        try:
            while (wait := self._unsettled_s()) > 0:
                await asyncio.wait({self._lost}, timeout=wait)
                self._raise_if_lost()
            done = self._reply()
            self._channel.basic_cancel(self._tag, callback=lambda _frame: _settle(done, None))
            # pika would reject what arrives until the confirmation; we work on it.
            self._channel._cancelled.discard(self._tag)  # pyright: ignore[reportAttributeAccessIssue]
            await self._or_lost(done)
        finally:
            self._may_answer.set()

    async def ready(self, queue: str) -> int:
        """The messages that wait in `queue` now. Raises LostError, also when the queue is not there."""
        declared = self._reply()
        self._open_channel_now().queue_declare(
            queue, passive=True, callback=lambda frame: _settle(declared, frame.method.message_count)
        )
        return await self._or_lost(declared)

    async def get(self, queue: str) -> tuple[Basic.GetOk, BasicProperties, bytes] | None:
        """Take one message that waits in `queue`; None when there is none. Raises LostError.

        See it through: the message of a call that is given up stays with this connection until it ends.
        """
        async with self._getting:  # pika knows of one at a time
            self._got = self._reply()
            self._open_channel_now().basic_get(queue, lambda _channel, *got: _settle(self._got, got))
            return await self._or_lost(self._got)

    async def ack(self, *tags: int) -> bool:
        """The messages behind one delivery. False when the connection is gone: they come again."""
        return await self._answer(lambda channel, tag: channel.basic_ack(tag), tags)

    async def refuse(self, *tags: int) -> bool:
        """Back to the queue as a failure, which counts: it gives the message up after its delivery limit."""
        # Not a nack: since RabbitMQ 4.3 that does not count, and a poison message would go round for ever.
        return await self._answer(lambda channel, tag: channel.basic_reject(tag, requeue=True), tags)

    async def hand_back(self, *tags: int) -> bool:
        """Back to the queue, unfinished but not failed. Before RabbitMQ 4.3 it counts all the same."""
        return await self._answer(lambda channel, tag: channel.basic_nack(tag, requeue=True), tags)

    async def close(self) -> None:
        """Say goodbye; everything acked before is flushed first."""
        if self._connection is None or self._connection.is_closed or self._connection.is_closing:
            return
        if not self._connection.is_open:
            self.drop()  # still opening: left alone, it would open after all, and nobody would close it
            return
        self._connection.close()
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.shield(self._lost)
        except TimeoutError:
            self.drop()

    def drop(self) -> None:
        """End the TCP connection without a word, as a killed process does."""
        if self._connection is not None and not self._connection.is_closed:
            # pika has no public way to abort.
            self._connection._adapter_disconnect_stream()  # pyright: ignore[reportAttributeAccessIssue]

    async def _answer(self, send: Callable[[Channel, int], None], tags: Sequence[int]) -> bool:
        await self._may_answer.wait()
        if not self.is_open:
            return False
        assert self._channel is not None  # noqa: S101 -- is_open
        for tag in tags:
            send(self._channel, tag)
            self._delivered.discard(tag)
        self._room_since = asyncio.get_running_loop().time()
        return True

    def _unsettled_s(self) -> float:
        """Seconds for which a message may still be on its way here; 0 when all slots are taken."""
        if len(self._delivered) >= self._settings.slots:
            return 0.0
        return self._room_since + SETTLED_S - asyncio.get_running_loop().time()

    async def _connect(self) -> AsyncioConnection:
        opened = self._reply()
        parameters = pika.URLParameters(self._settings.url)
        parameters.heartbeat = self._settings.heartbeat_s
        parameters.client_properties = {"connection_name": self._settings.name}
        self._connection = AsyncioConnection(
            parameters,
            on_open_callback=lambda connection: _settle(opened, connection),
            on_open_error_callback=lambda _connection, error: _fail(opened, error),
            on_close_callback=lambda _connection, reason: self._lose(reason),
        )
        return await opened

    async def _open_channel(self, connection: AsyncioConnection) -> Channel:
        opened = self._reply()
        channel = connection.channel(on_open_callback=lambda made: _settle(opened, made))
        channel.add_on_close_callback(lambda _channel, reason: self._lose(reason))
        channel.add_on_cancel_callback(lambda _frame: self._lose("the broker cancelled the consumer"))
        channel.add_callback(lambda _frame: _settle(self._got, None), [Basic.GetEmpty], one_shot=False)
        return await self._or_lost(opened)

    async def _consume(self, channel: Channel) -> None:
        limited, consuming = self._reply(), self._reply()
        channel.basic_qos(prefetch_count=self._settings.slots, callback=lambda _frame: _settle(limited, None))
        await self._or_lost(limited)
        self._tag = channel.basic_consume(
            self._settings.queue,
            self._on_message,
            arguments={"x-priority": self._settings.priority},
            callback=lambda _frame: _settle(consuming, None),
        )
        await self._or_lost(consuming)
        self._room_since = asyncio.get_running_loop().time()

    def _on_message(
        self, _channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        tag = int(method.delivery_tag or 0)
        self._delivered.add(tag)
        self._deliver(Job.of(method, properties, body, self._settings.filter), tag)

    def _open_channel_now(self) -> Channel:
        self._raise_if_lost()
        assert self._channel is not None  # noqa: S101 -- open() made it
        return self._channel

    async def _or_lost(self, reply: "asyncio.Future[Any]") -> Any:
        await asyncio.wait({reply, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        if not reply.done():
            self._raise_if_lost()
        return reply.result()

    def _raise_if_lost(self) -> None:
        if self._lost.done():
            raise LostError(self._lost.result())

    def _lose(self, reason: object) -> None:
        _settle(self._lost, str(reason))

    @staticmethod
    def _reply() -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().create_future()


def _settle(reply: "asyncio.Future[Any]", value: object) -> None:
    if not reply.done():
        reply.set_result(value)


def _fail(reply: "asyncio.Future[Any]", error: BaseException | str) -> None:
    if not reply.done():
        reply.set_exception(error if isinstance(error, BaseException) else OSError(error))
