"""Reads every broker node each `sample_s` and turns the answers into snapshots.

Each node is read by its own task: a slow node lets its own rows grow old and nobody else's.
The age of a row is the time since the read behind it began. The broker adds up to one emission
interval (collect_statistics_interval, quorum_tick_interval) that no row shows: an idle classic
queue emits nothing, so an unchanged row is no proof of a frozen one.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from math import inf
from typing import NamedTuple

import aiohttp
import structlog

from metrics_server.config import Config, ConfigError, FilterSpec
from metrics_server.service_times import ServiceTimes
from metrics_server.snapshot import Read, Row, Rows, SetRow, Snapshot
from metrics_server.sources import Counts, ReadError, Source, Table, newest, sources
from metrics_server.watch import Watch
from surge.policy.demand import Demand, demand
from surge.policy.history import RETURN_SHARE, Histories, Sample, Window
from surge.policy.pooling import Part, Pooled, pooled

__all__ = ["NodeState", "Sampler"]

log = structlog.get_logger("sampler")

# A read may take longer than a sample, but a hanging node must not hold its task for ever.
LEAST_TIMEOUT_S = 1.0

# Acknowledgements cost more to read than counts and are needed less often: 10 s, where a window is 300 s.
ACKNOWLEDGED_SHARE = 1 / 30


class _Answer(NamedTuple):
    """started, unix: monotonic and wall seconds when the read began."""

    table: Table
    started: float
    unix: float


class NodeState:
    """One address of the broker: its last answer, when each row last changed, the account for /metrics.

    back_at: when it answered again after it had not.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.table = Table()
        self.changed: dict[bytes, float] = {}
        self.reachable: bool | None = None
        self.back_at = -inf
        self.reads: dict[str, int] = {"ok": 0}
        self.read_s = 0.0

    @property
    def url(self) -> str:
        return self.source.url

    def take(self, table: Table, started: float) -> None:
        """Remember an answer; a row seen for the first time counts as changed before everything."""
        changed, old = self.changed, dict(zip(self.table.queues, self.table.rows(), strict=True))
        self.changed = {
            queue: changed.get(queue, 0.0) if old.get(queue, numbers) == numbers else started
            for queue, numbers in zip(table.queues, table.rows(), strict=True)
        }
        self.table = table


class Sampler:
    """Owner of the histories and of the current `snapshot`, which readers may take at any time.

    Raises ConfigError at construction when a file that a source needs is wrong.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.clock = clock
        self.snapshot = Snapshot(frozenset(), Rows({}, {}, self._mix))
        self.specs: dict[str, FilterSpec] = {}
        self.histories = Histories(config.windows_s[-1], {})
        self.service_times = ServiceTimes(config.windows_s[-1])
        self._acknowledged_due = 0.0
        # In the order of the histories' slots.
        self._queue_of: dict[str, bytes] = {}
        self._known = frozenset[str]()
        self._sets: dict[str, FilterSpec] = {}
        self._timeout_s = max(LEAST_TIMEOUT_S, config.sample_s)
        self._ways = [[NodeState(source) for source in way] for way in sources(config)]
        self.nodes = self._ways[0]
        self._trust = _trust(config)
        self.watch = Watch(config, self._trust, self._queues, self._served_consumers) if config.amqp else None

    async def run(self) -> None:
        """Sample until cancelled, in the best way that answers; with several ways, look again at times."""
        connector = aiohttp.TCPConnector(limit_per_host=1, keepalive_timeout=60, ssl=self._trust)
        watching = nullcontext() if self.watch is None else self.watch.running()
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
            with watching:
                await self._sample(session)

    async def _sample(self, session: aiohttp.ClientSession) -> None:
        turn_s = None if len(self._ways) == 1 else self.config.stale_s
        while True:
            if turn_s is not None:
                await self._choose(session)
            try:
                async with asyncio.timeout(turn_s), asyncio.TaskGroup() as tasks:
                    for node in self.nodes:
                        tasks.create_task(self._follow(node, session), name=f"sample {node.url}")
                    tasks.create_task(self._learn(session), name="learn service times")
            except TimeoutError:
                continue

    def use(self, specs: dict[str, FilterSpec]) -> None:
        """Follow these filters from now on. Kept ones keep their history, removed ones vanish."""
        old = self.specs
        same = {name for name, spec in specs.items() if name in old and old[name].queue == spec.queue}
        self.specs = specs
        self._queue_of = {name: spec.queue.encode() for name, spec in specs.items()}
        self._remember(kept=same)
        # Of a set it is its members'.
        self.service_times.use({name: spec for name, spec in specs.items() if not spec.members})
        self._sets = {name: spec for name, spec in specs.items() if spec.members}
        self._known = frozenset(specs)
        self._publish({name: read for name, read in self.snapshot.rows.reads.items() if name in same})

    def _remember(self, kept: Collection[str]) -> None:
        """Keep histories of the present filters; those of `kept` go on."""
        service_s = {name: spec.service_s for name, spec in self.specs.items()}
        self.histories = self.histories.following(service_s, kept)

    def fold(self, node: NodeState, table: Table, *, started: float, unix: float) -> None:
        """Take one answer of `node` into histories and snapshot."""
        learnt, histories = self.service_times.learnt, self.histories
        read = Read(
            started, unix, node.url, node.source.name, self._demand, learnt, self.specs, table, histories
        )
        places, reads = self._places(node, table, started), dict(self.snapshot.rows.reads)
        for name in [name for name, place in places.items() if place is None]:
            if name in reads and (len(self.nodes) == 1 or reads[name].node == read.node):
                del reads[name]
        if len(self.nodes) > 1:
            node.take(table, started)
            places |= dict.fromkeys(self._disbelieved(node))
        found = {slot: place for slot, place in enumerate(places.values()) if place is not None}
        unacked, ready = ([column[at] for at in found.values()] for column in (table.unacked, table.ready))
        histories.append(started, [*found], unacked, ready)
        self._publish(reads | {name: read for name, at in places.items() if at is not None}, started)

    def _places(self, node: NodeState, table: Table, started: float) -> dict[str, int | None]:
        """Return where in an answer each filter's counts are; None where they are not, or not yet true."""
        places = dict(zip(self._queue_of, map(table.places.get, self._queue_of.values()), strict=True))
        if started - node.back_at <= RETURN_SHARE * self.config.windows_s[-1]:
            for name, place in places.items():
                if place is not None and self._still_returning(name, table.at(place)):
                    places[name] = None
        return places

    def _disbelieved(self, node: NodeState) -> list[str]:
        """Return the filters of which another node tells, too, and tells what is newer."""
        others = [each for each in self.nodes if each is not node and each.reachable]
        twice = {queue for each in others for queue in node.table.places.keys() & each.table.places.keys()}
        return [
            name
            for name, queue in self._queue_of.items()
            if queue in twice and not self._believed(node, queue)
        ]

    def _still_returning(self, name: str, seen: Counts) -> bool:
        """A broker that has just started shows queues empty whose messages it has not read yet."""
        return not any(seen[:3]) and self.histories.level(name) > 0

    def _queues(self) -> dict[str, str]:
        return {name: spec.queue for name, spec in self.specs.items()}

    def _served_consumers(self, name: str) -> float | None:
        row = self.snapshot.fresh(name, self.clock(), self.config.stale_s)
        return None if row is None else row.counts.consumers

    def live_consumers(self, name: str) -> int | None:
        """Return the consumers of this moment as events tell them, None when unknown. No part of a row."""
        if self.watch is None or name not in self.specs:
            return None
        return self.watch.events.ledger.live(self.specs[name].queue)

    def windows(self, row: Row) -> list[Window]:
        """Return the windows behind the demand of `row`, also when newer samples have come."""
        if isinstance(row, SetRow):
            return row.pooled.windows
        return row.read.histories.windows(row.spec.name, self.config.windows_s, row.started)

    def _mix(self, row: SetRow) -> Pooled:
        parts = [Part(self.windows(part), *part.service, part.counts.ready) for part in row.parts]
        return pooled(parts, self.config.windows_s)

    def _demand(self, row: Row) -> Demand:
        spec, counts, windows_s = row.spec, row.counts, self.config.windows_s
        service_s, known = row.service
        return demand(
            self.windows(row),
            Sample(row.started, counts.unacked, row.waiting, counts.consumers),
            service_s=service_s,
            slots=spec.slots,
            drain_s=spec.drain_s,
            lead_s=spec.lead_s,
            beta=spec.beta,
            known=known,
            windows_s=windows_s,
        )

    def _believed(self, node: NodeState, queue: bytes) -> bool:
        candidates = {
            each.url: (each.changed[queue], each.table[queue])
            for each in self.nodes
            if queue in each.table.places and (each is node or each.reachable)
        }
        return newest(candidates) == node.url

    def _publish(self, reads: dict[str, Read], last_read: float | None = None) -> None:
        self.snapshot = Snapshot(
            known=self._known,
            rows=Rows(reads, self._sets, self._mix),
            serial=self.snapshot.serial + 1,
            last_read=self.snapshot.last_read if last_read is None else last_read,
        )

    async def _choose(self, session: aiohttp.ClientSession) -> None:
        """Follow the first way of which an address answers; the present one when none does."""
        for way in self._ways:
            answers = await asyncio.gather(*[self._ask(node, session) for node in way])
            if not any(answers):
                continue
            if way is not self.nodes:
                # Counts of one source are older than those of another: a window over both is no window.
                self.nodes = way
                self._remember(kept=())
                log.info("source chosen", source=way[0].source.name)
            for node, answer in zip(way, answers, strict=True):
                if answer is not None:
                    self.fold(node, answer.table, started=answer.started, unix=answer.unix)
            return

    async def _follow(self, node: NodeState, session: aiohttp.ClientSession) -> None:
        due = self.clock()
        while True:
            answer = await self._ask(node, session)
            if answer is not None:
                self.fold(node, answer.table, started=answer.started, unix=answer.unix)
            # Late samples are skipped, never caught up in a burst.
            due = max(due + self.config.sample_s, self.clock())
            await asyncio.sleep(due - self.clock())

    async def _learn(self, session: aiohttp.ClientSession) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._acknowledged_due - self.clock()))
            self._acknowledged_due = self.clock() + ACKNOWLEDGED_SHARE * self.config.windows_s[-1]
            await self._read_acknowledged(session)

    async def _read_acknowledged(self, session: aiohttp.ClientSession) -> None:
        """Without the answer of every node nothing is learnt: the next read covers this one's time too."""
        nodes = self.nodes
        try:
            answers = await asyncio.gather(
                *[node.source.acknowledged(session, self._timeout_s) for node in nodes]
            )
        except ReadError:
            return
        counters = {node.url: each for node, each in zip(nodes, answers, strict=True) if each is not None}
        if len(counters) == len(nodes):
            self.service_times.fold(self.clock(), counters, self.histories.busy_s())

    async def _ask(self, node: NodeState, session: aiohttp.ClientSession) -> _Answer | None:
        started, unix = self.clock(), time.time()
        try:
            table = await node.source.read(session, self._timeout_s)
        except ReadError as error:
            node.reads[error.reason] = node.reads.get(error.reason, 0) + 1
            self._reach(node, reachable=False, why=str(error))
            return None
        finally:
            node.read_s = self.clock() - started
        node.reads["ok"] += 1
        self._reach(node, reachable=True, why="")
        return _Answer(table, started, unix)

    def _reach(self, node: NodeState, *, reachable: bool, why: str) -> None:
        if node.reachable != reachable:
            if node.reachable is False:
                node.back_at = self.clock()
            node.reachable = reachable
            event = "broker node answers" if reachable else "broker node does not answer"
            log.info(event, node=node.url, why=why, filters=len(self.specs))


def _trust(config: Config) -> ssl.SSLContext:
    trust = ssl.create_default_context()
    if config.ca_file is not None:
        try:
            trust.load_verify_locations(config.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{config.ca_file}: no certificates in PEM: {error.strerror or error}"
            ) from None
    return trust
