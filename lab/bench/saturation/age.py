"""How old are unacked messages of a queue when they are read: from ours, and from the management API.

A probe holds a message or none, and changes that at a time it knows. The age is the time until a
source shows the change; both sources are watched for the same changes.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pika
import urllib3

from lab.bench import Row
from lab.bench.saturation.crowd import sampling
from lab.broker import ScratchBroker

__all__ = ["run"]

KINDS = ("classic", "quorum")
PROBES, WATCHED_S = 16, 120.0
# Of the management API: 160 probes a second leave the broker half idle.
LOOK_S = 0.2
GIVEN_UP_S = 30.0
THREADS = 4


class Probe:
    """One queue with one worker. `ages`: seconds that each change took to show, by source."""

    def __init__(self, name: str, kind: str, channel: Any) -> None:
        self.name = name
        self.kind = kind
        self.ages: dict[str, list[float]] = {"ours": [], "peer": []}
        self._channel = channel
        self._held: int | None = None
        self._changed_at = 0.0
        self._waiting: set[str] = set()
        self._next = time.monotonic() + random.uniform(1, 6)
        channel.queue_declare(f"filter.{name}", durable=True, arguments={"x-queue-type": kind})
        channel.basic_consume(f"filter.{name}", self._delivered)

    def step(self) -> None:
        """Change what is held, when both sources have shown the last change for a while."""
        if time.monotonic() < self._next or self._waiting:
            return
        if self._held is None:
            self._next = float("inf")  # until it is delivered
            self._channel.basic_publish("", f"filter.{self.name}", b"photo")
        else:
            self._channel.basic_ack(self._held)
            self._held = None
            self._change()

    def saw(self, source: str, unacked: float | None) -> None:
        """A source shows this number of unacked messages now."""
        waited = time.monotonic() - self._changed_at
        if source in self._waiting and (unacked == (self._held is not None) or waited > GIVEN_UP_S):
            self.ages[source].append(waited)
            self._waiting.discard(source)

    def _delivered(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        self._held = method.delivery_tag
        self._change()

    def _change(self) -> None:
        self._changed_at = time.monotonic()
        self._waiting = {"ours", "peer"}
        # At any phase of the broker's and the sampler's clocks.
        self._next = self._changed_at + random.uniform(0, 5)


def run(broker: ScratchBroker) -> list[Row]:
    names = {f"probe-{kind}-{number}": kind for kind in KINDS for number in range(PROBES)}
    with (
        pika.BlockingConnection(pika.URLParameters(f"{broker.amqp_url}?heartbeat=0")) as connection,
        sampling(broker, list(names)) as sampler,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        probes = [Probe(name, kind, connection.channel()) for name, kind in names.items()]
        read = _management(broker)
        end, look = time.monotonic() + WATCHED_S, 0.0
        while time.monotonic() < end:
            connection.sleep(0.02)
            for probe in probes:
                row = sampler.snapshot.rows.get(probe.name)
                probe.saw("ours", None if row is None else row.counts.unacked)
                probe.step()
            if time.monotonic() >= look:
                look = time.monotonic() + LOOK_S
                for probe, seen in zip(probes, pool.map(read, names), strict=True):
                    probe.saw("peer", seen)
    return [row for kind in KINDS for row in _rows(kind, [probe for probe in probes if probe.kind == kind])]


def _management(broker: ScratchBroker) -> Callable[[str], float | None]:
    headers = urllib3.make_headers(basic_auth=f"admin:{broker.admin_password}")
    pool = urllib3.PoolManager(maxsize=THREADS, headers=headers, timeout=10)

    def read(name: str) -> float | None:
        answer = pool.request("GET", f"{broker.management_url}/api/queues/surge/filter.{name}")
        return answer.json().get("messages_unacknowledged")

    return read


def _rows(kind: str, probes: list[Probe]) -> Iterator[Row]:
    ours, peer = (
        sorted(age for probe in probes for age in probe.ages[source]) for source in ("ours", "peer")
    )
    for name, share in (("median", 50), ("p99", 99)):
        mine, theirs = (round(statistics.quantiles(ages, n=100)[share - 1], 2) for ages in (ours, peer))
        runs = [round(age, 2) for age in ours]
        yield Row(name=f"age_{kind}_{name}", unit="s", ours=mine, peer=theirs, runs=runs)
