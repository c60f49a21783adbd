"""Publishes to filters and knows of every message whether the broker has it."""

import time
from threading import Event
from typing import Any
from uuid import uuid4

import pika
from pika.exceptions import AMQPError

__all__ = ["Publisher"]

AGAIN_S = 0.5


class Publisher:
    """published: the time at which each confirmed message was handed over, by (filter, message id).

    A message whose confirm was lost with the connection is published again under the same id, and
    counted once. Not for several threads.
    """

    def __init__(self, url: str, stop: Event) -> None:
        self._url = url
        self._stop = stop
        self._channel: Any = None
        self.published: dict[tuple[str, str], float] = {}

    def publish(self, of_filter: str) -> bool:
        """Return once the broker has confirmed the message; False when `stop` came first."""
        identifier, at = str(uuid4()), time.time()
        properties = pika.BasicProperties(
            message_id=identifier, delivery_mode=2, headers={"published-at-us": int(at * 1e6)}
        )
        while not self._stop.is_set():
            try:
                if self._channel is None:
                    self._channel = self._connect()
                self._channel.basic_publish("filters", of_filter, b"photo", properties, mandatory=True)
            except (AMQPError, OSError):
                self._channel = None
                self._stop.wait(AGAIN_S)
            else:
                self.published[of_filter, identifier] = at
                return True
        return False

    def idle(self, seconds: float) -> None:
        """Wait, and answer the broker's heartbeats meanwhile."""
        if self._channel is None:
            self._stop.wait(seconds)
            return
        try:
            self._channel.connection.sleep(seconds)
        except (AMQPError, OSError):
            self._channel = None

    def close(self) -> None:
        if self._channel is not None and self._channel.connection.is_open:
            self._channel.connection.close()

    def _connect(self) -> Any:
        channel = pika.BlockingConnection(pika.URLParameters(self._url)).channel()
        channel.confirm_delivery()
        return channel
