"""A queue of the check's own on the broker, with its dead letters."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

__all__ = ["DELIVERY_LIMIT", "Scratch", "ScratchError"]

DELIVERY_LIMIT = 2


class ScratchError(Exception):
    """The broker does not answer, or does not let us declare a queue."""


class Scratch:
    """A quorum queue and one for its dead letters. Everything raises ScratchError."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.queue = f"filter.check-{secrets.token_hex(4)}"
        self._dead = f"{self.queue}.dead"

    def declare(self) -> None:
        with self._channel() as channel:
            channel.queue_declare(self._dead, durable=True, arguments={"x-queue-type": "quorum"})
            channel.queue_declare(
                self.queue,
                durable=True,
                arguments={
                    "x-queue-type": "quorum",
                    "x-delivery-limit": DELIVERY_LIMIT,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": self._dead,
                },
            )

    def delete(self) -> None:
        with self._channel() as channel:
            channel.queue_delete(self.queue)
            channel.queue_delete(self._dead)

    def publish(self, messages: Mapping[str, bytes]) -> None:
        """messages: the body of each by its message id."""
        with self._channel() as channel:
            channel.confirm_delivery()
            for message_id, body in messages.items():
                properties = pika.BasicProperties(message_id=message_id, delivery_mode=2)
                channel.basic_publish("", self.queue, body, properties, mandatory=True)

    def waiting(self) -> tuple[int, int]:
        """Messages that are in nobody's hands: (of the queue, of its dead letters)."""
        with self._channel() as channel:
            return tuple(  # pyright: ignore[reportReturnType]
                channel.queue_declare(name, passive=True).method.message_count
                for name in (self.queue, self._dead)
            )

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        try:
            with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
                yield connection.channel()
        except (AMQPError, OSError) as error:
            parameters = pika.URLParameters(self._url)
            raise ScratchError(
                f"the broker at {parameters.host}:{parameters.port} does not serve a scratch queue: "
                f"{type(error).__name__} {error}"
            ) from error
