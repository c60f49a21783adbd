"""Publishes to filters and knows of every message whether the broker has it."""

import time
from contextlib import suppress
from threading import Event
from typing import Any
from uuid import uuid4

import pika
from pika.exceptions import AMQPError, ProbableAccessDeniedError, ProbableAuthenticationError, UnroutableError

__all__ = ["PublishRefusedError", "Publisher"]

AGAIN_S = 0.5


class PublishRefusedError(Exception):
    """The broker is there and will not take the message, now or later."""


class Publisher:
    """published: the time at which each confirmed message was handed over, by (filter, message id).

    A message whose confirm was lost with the connection is published again under the same id, and
    counted once. Not for several threads, but several publishers may note in one `published`.

    lag_s: the longest a message went out after it was due, in wall seconds; a message that was due
    while the broker was away does not count.
    """

    def __init__(self, url: str, stop: Event, published: dict[tuple[str, str], float] | None = None) -> None:
        self._url = url
        self._stop = stop
        self._channel: Any = None
        self._connected_at = 0.0
        self.published: dict[tuple[str, str], float] = {} if published is None else published
        self.lag_s = 0.0

    def publish(self, of_filter: str, due: float | None = None) -> bool:
        """Return once the broker has confirmed the message; False when `stop` came first.

        due: unix seconds at which the user asked, now when left out. The wait counts from then, so
        that an outage of the broker shows in the waits. Raises PublishRefusedError.
        """
        identifier, at = str(uuid4()), time.time() if due is None else due
        properties = pika.BasicProperties(
            message_id=identifier, delivery_mode=2, headers={"published-at-us": int(at * 1e6)}
        )
        while not self._stop.is_set():
            try:
                if self._channel is None:
                    self._channel = self._connect()
                if at >= self._connected_at:
                    self.lag_s = max(self.lag_s, time.time() - at)
                self._channel.basic_publish("filters", of_filter, b"photo", properties, mandatory=True)
            except UnroutableError as error:
                raise PublishRefusedError(
                    f"the broker has no queue for filter {of_filter}: its requests would be dropped. "
                    "Make the queues of filters.yaml: surge up local"
                ) from error
            except (ProbableAuthenticationError, ProbableAccessDeniedError) as error:
                raise PublishRefusedError(
                    "the broker refuses the publisher's user: the password in the stack's outputs is not "
                    "the broker's. Set it anew: surge up local"
                ) from error
            except (AMQPError, OSError):
                self.close()
                self._stop.wait(AGAIN_S)
            else:
                self.published[of_filter, identifier] = at
                return True
        return False

    def publish_at(self, due: float, of_filter: str) -> bool:
        """Wait for the unix time `due`, then publish. Raises PublishRefusedError."""
        while (wait := due - time.time()) > 0 and not self._stop.is_set():
            self.idle(wait)
        return self.publish(of_filter, due)

    def idle(self, seconds: float) -> None:
        """Wait, and answer the broker's heartbeats meanwhile."""
        if self._channel is None:
            self._stop.wait(seconds)
            return
        try:
            self._channel.connection.sleep(seconds)
        except (AMQPError, OSError):
            self.close()

    def close(self) -> None:
        """Also of a connection that is half gone: one that is only forgotten keeps its socket."""
        channel, self._channel = self._channel, None
        if channel is not None and channel.connection.is_open:
            with suppress(AMQPError, OSError):
                channel.connection.close()

    def _connect(self) -> Any:
        channel = pika.BlockingConnection(pika.URLParameters(self._url)).channel()
        channel.confirm_delivery()
        self._connected_at = time.time()
        return channel
