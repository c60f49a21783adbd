"""The messages that no worker could finish: look at them, send them again, drop them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError, UnroutableError

from surge.policy.topology import DEAD_LETTERS, EXCHANGE

__all__ = ["DeadLetters", "Heap", "Outcome"]

# What the broker wrote on the way: a message that goes again goes as new.
OF_THE_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count")


class Heap(NamedTuple):
    """Letters of one filter that died for one reason: rejected, delivery_limit, expired or maxlen."""

    filter: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """done: sent again, or dropped. left: of those asked for, still dead letters."""

    done: int
    left: int


class DeadLetters:
    """Of one broker. url: AMQP, of a user that may read DEAD_LETTERS and write EXCHANGE.

    told: called with each letter's number as it is taken.
    """

    def __init__(self, url: str, told: Callable[[int], None] = lambda _: None) -> None:
        self._url = url
        self._told = told

    def count(self) -> Mapping[Heap, int]:
        """Return how many there are of each kind; all stay where they are."""
        with self._letters() as (_, letters):
            return Counter(heap for _, heap, _, _ in letters)

    def retry(self, wanted: str | None = None) -> Outcome:
        """Send letters of this filter, or all, to their filter's queue again.

        Each leaves the dead letters when its queue has it: one may go twice when this ends between, none
        is lost. A letter whose queue is gone or full stays.
        """

        def send(channel: BlockingChannel, heap: Heap, properties: pika.BasicProperties, body: bytes) -> None:
            channel.basic_publish(EXCHANGE, heap.filter, body, _as_new(properties), mandatory=True)

        return self._each(wanted, send)

    def drop(self, wanted: str) -> Outcome:
        """Lose the letters of this filter."""
        return self._each(wanted, lambda *_: None)

    def _each(self, wanted: str | None, act: Callable[..., None]) -> Outcome:
        done = left = 0
        with self._letters() as (channel, letters):
            for tag, heap, properties, body in letters:
                if wanted is not None and heap.filter != wanted:
                    continue
                try:
                    act(channel, heap, properties, body)
                except (UnroutableError, NackError):
                    left += 1
                else:
                    channel.basic_ack(tag)
                    done += 1
        return Outcome(done, left)

    @contextmanager
    def _letters(self) -> Iterator[tuple[BlockingChannel, Iterator[tuple[int, Heap, Any, bytes]]]]:
        """Those that are there now; the end of the connection puts back what was not acknowledged."""
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel, self._take(channel)

    def _take(self, channel: BlockingChannel) -> Iterator[tuple[int, Heap, Any, bytes]]:
        there = channel.queue_declare(DEAD_LETTERS, passive=True).method.message_count
        for number in range(1, there + 1):
            method, properties, body = channel.basic_get(DEAD_LETTERS)
            if method is None or properties is None or body is None:
                return
            self._told(number)
            yield method.delivery_tag, _heap(properties), properties, body


def _heap(properties: pika.BasicProperties) -> Heap:
    deaths: Any = (properties.headers or {}).get("x-death")
    last = deaths[0] if deaths else {}
    return Heap(str((last.get("routing-keys") or ["?"])[0]), str(last.get("reason", "?")))


def _as_new(properties: pika.BasicProperties) -> pika.BasicProperties:
    headers = {
        key: value for key, value in (properties.headers or {}).items() if not key.startswith(OF_THE_BROKER)
    }
    properties.headers = headers or None
    # A letter that expired once would expire again on its way.
    properties.expiration = None
    return properties
