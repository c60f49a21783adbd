"""Consumers of this moment, from the broker's event exchange: joins and leaves as they happen.

They are shown and nothing is computed of them. Beside unacked messages of a second ago they would be
a ratio that never was: ten workers join, their first messages are in no row yet, and the ratio halves.
"""

import secrets
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from math import inf
from typing import Any, NamedTuple

import structlog
from pika.exceptions import ChannelClosedByBroker
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from metrics_server.config import PREFIX
from metrics_server.ledger import ConsumerLedger
from surge.policy.topology import EVENT_QUEUES

__all__ = ["SETTLE_S", "Count", "Events"]

log = structlog.get_logger("events")

EXCHANGE = "amq.rabbitmq.event"
MOVES = ("consumer.created", "consumer.deleted")
KEYS = (*MOVES, "channel.closed", "queue.deleted")
# A reader that sleeps longer than this many events loses the oldest; the next resync heals it.
MOST_EVENTS = 5_000
# A broker under load tells what happened as much as two seconds later. While it keeps a declare waiting
# for longer than STALL_S it tells nothing, so that time is none of them; and a 0 that took so long is no
# answer: RabbitMQ says 0 of a quorum queue whose leader does not answer in a quarter of a second.
SETTLE_S, STALL_S = 2.0, 0.1


class Count(NamedTuple):
    """Consumers of a filter's queue by a passive declare at a second of the clock, the ledger's moves before.

    How often it may be counted again: tries, when an event comes that may be in the count or not; doubts,
    when it is a 0 that no event told of. Doubts use up no tries: an event that met the last of them would
    leave a wrong number for another round. consumers is None when the queue's leader did not answer.
    """

    at: float
    name: str
    queue: str
    moves: int
    consumers: int | None
    tries: int
    doubts: int


class Events:
    """Keeps `ledger` true on a connection of somebody else, whose thread alone may call all but `collect`.

    Events are told at most once, so each passive declare of the watch is a resync, once it has settled.
    """

    def __init__(self, vhost: str, *, wanted: bool) -> None:
        self.ledger = ConsumerLedger()
        self._wanted = wanted
        self._vhost = vhost
        self._channel: Any = None
        self._counts: deque[Count] = deque()
        self._taken = 0
        self._stalled_s = 0.0
        self._abreast_at = -inf
        self._why = ""

    def attach(self, connection: Any, queues: Collection[str]) -> None:
        """Follow `queues`; listen unless it does already. A refusal is logged, the next call tries again."""
        self.ledger.follow(queues)
        if not self._wanted or (self._channel is not None and self._channel.is_open):
            return
        self.detach()
        try:
            self._channel = self._listening(connection.channel())
        except ChannelClosedByBroker as error:
            self._tell(
                f"{error.reply_text}; want the plugin, its vhost and the rights of {__package__}/README.md"
            )
        else:
            self._tell("")

    def detach(self) -> None:
        """Nothing is known any more: the connection, or the queue of the events, is gone."""
        self._channel = None
        self._counts.clear()
        self.ledger.forget_all()

    def count(self, channel: Any, name: str, queue: str, *, tries: int, doubts: int) -> int:
        """Return the consumers by a passive declare, which are believed once they have settled.

        Raises ChannelClosedByBroker.
        """
        moves, asked = self.ledger.moves(queue), time.monotonic()
        consumers = channel.queue_declare(queue, passive=True).method.consumer_count
        waited_s = time.monotonic() - asked
        stalled = waited_s > STALL_S
        self._stalled_s += waited_s if stalled else 0.0
        if self._channel is not None:
            told = None if stalled and consumers == 0 else consumers
            self._counts.append(Count(self._clock(), name, queue, moves, told, tries, doubts))
        return consumers

    def catch_up(self, connection: Any) -> None:
        """Take what events wait. Where none did, nothing that was told before is unread."""
        now, taken = self._clock(), self._taken
        connection.process_data_events(0)
        if self._taken == taken:
            self._abreast_at = now

    def settle(self) -> Iterator[Count]:
        """Believe the counts that nothing speaks against within SETTLE_S; yield those to be repeated.

        A reader that is behind has not heard yet what speaks against them: only read time counts.
        """
        while self._counts and self._counts[0].at + SETTLE_S <= self._abreast_at:
            count = self._counts.popleft()
            met = self.ledger.moves(count.queue) != count.moves
            # The broker says 0 of a quorum queue, too, whose leader is not there yet.
            doubtful = not count.consumers and self.ledger.live(count.queue) != 0
            if met:
                if count.tries:
                    yield count._replace(tries=count.tries - 1)
            elif doubtful and count.doubts:
                yield count._replace(doubts=count.doubts - 1)
            elif count.consumers is not None:
                self.ledger.resync(count.queue, count.consumers)

    def collect(self, queues: Mapping[str, str]) -> Iterator[Metric]:
        """What is known at this moment, for /metrics. queues: by the filter's name."""
        if not self._wanted:
            return
        up = self._channel is not None
        yield GaugeMetricFamily(PREFIX + "events_up", "1 while it listens to the event exchange", value=up)
        live = GaugeMetricFamily(
            PREFIX + "live_consumers", "Consumers of this moment, in no ratio", labels=["filter"]
        )
        for name, queue in queues.items():
            if (count := self.ledger.live(queue)) is not None:
                live.add_metric([name], count)
        yield live
        yield CounterMetricFamily(
            PREFIX + "event_drift",
            "Consumers by which declares corrected the events",
            value=self.ledger.drift,
        )

    def _clock(self) -> float:
        """Seconds in which the broker could tell."""
        return time.monotonic() - self._stalled_s

    def _listening(self, channel: Any) -> Any:
        name = f"{EVENT_QUEUES}." + secrets.token_hex(8)
        bounds = {"x-max-length": MOST_EVENTS, "x-overflow": "drop-head"}
        channel.queue_declare(name, exclusive=True, auto_delete=True, arguments=bounds)
        for key in KEYS:
            channel.queue_bind(name, EXCHANGE, key)
        channel.add_on_cancel_callback(lambda _: self.detach())
        channel.basic_consume(name, self._take, auto_ack=True, exclusive=True)
        return channel

    def _take(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        self._taken += 1
        try:
            self._enter(method.routing_key, properties.headers or {})
        except (KeyError, TypeError, ValueError):
            log.debug("event of an unknown shape", key=method.routing_key)

    def _enter(self, key: str, told: Mapping[str, Any]) -> None:
        if key == "channel.closed":
            self.ledger.channel_closed(str(told["pid"]), _milliseconds(told))
        elif told["vhost"] != self._vhost:
            return
        elif key == "queue.deleted":
            self.ledger.queue_deleted(told["name"])
        elif key in MOVES:
            take = self.ledger.created if key == MOVES[0] else self.ledger.deleted
            # A tag that is no UTF-8 comes as bytes, and is one all the same.
            take(told["queue"], str(told["channel"]), str(told["consumer_tag"]), _milliseconds(told))

    def _tell(self, why: str) -> None:
        if why and why != self._why:
            log.warning("no events from the broker", why=why)
        self._why = why


def _milliseconds(told: Mapping[str, Any]) -> int:
    at = told["timestamp_in_ms"]
    # pika's 64 bits are a class of their own below int, and so is bool.
    if isinstance(at, bool) or not isinstance(at, int):
        raise TypeError(f"timestamp_in_ms is {type(at).__name__}")
    return at
