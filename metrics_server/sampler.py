"""Reads every broker node each `sample_s` and turns the answers into snapshots.

Each node is read by its own task: a slow node lets its own rows grow old and nobody else's.
The age of a row is the time since the read behind it began. The broker adds up to one emission
interval (collect_statistics_interval, quorum_tick_interval) that no row shows: an idle classic
queue emits nothing, so an unchanged row is no proof of a frozen one.
"""

import asyncio
import time
from collections.abc import Callable
from types import MappingProxyType

import aiohttp
import structlog

from metrics_server.config import Config, FilterSpec
from metrics_server.rabbitmq import SOURCE, Counts, ReadError, newest, parse, read_node, row_pattern
from metrics_server.snapshot import Row, Snapshot, render
from surge.policy.demand import demand
from surge.policy.history import History, Sample, Window

__all__ = ["NodeState", "Sampler"]

log = structlog.get_logger("sampler")

# A read may take longer than a sample, but a hanging node must not hold its task for ever.
LEAST_TIMEOUT_S = 1.0


class NodeState:
    """One broker node: its last rows, when each last changed, and counters for /metrics."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rows: dict[bytes, Counts] = {}
        self.changed: dict[bytes, float] = {}
        self.reachable: bool | None = None
        self.reads: dict[str, int] = {"ok": 0}
        self.read_s = 0.0

    def take(self, rows: dict[bytes, Counts], started: float) -> None:
        """Remember `rows`; a row seen for the first time counts as changed before everything."""
        old, changed = self.rows, self.changed
        self.changed = {
            queue: changed.get(queue, 0.0) if old.get(queue, counts) == counts else started
            for queue, counts in rows.items()
        }
        self.rows = rows


class Sampler:
    """Owner of the histories and of the current `snapshot`, which readers may take at any time."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.clock = clock
        self.snapshot = Snapshot()
        self.nodes = [NodeState(url) for url in config.nodes]
        self.specs: dict[bytes, FilterSpec] = {}
        self.histories: dict[str, History] = {}
        self._pattern = row_pattern(config.vhost)

    async def run(self) -> None:
        """Sample until cancelled."""
        timeout = max(LEAST_TIMEOUT_S, self.config.sample_s)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit_per_host=1, keepalive_timeout=60), trust_env=False
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for node in self.nodes:
                tasks.create_task(self._follow(node, session, timeout), name=f"sample {node.url}")

    def use(self, specs: dict[str, FilterSpec]) -> None:
        """Follow these filters from now on. Kept ones keep their history, removed ones vanish."""
        old = {spec.name: spec for spec in self.specs.values()}
        same = {name for name, spec in specs.items() if name in old and old[name].queue == spec.queue}
        self.specs = {spec.queue.encode(): spec for spec in specs.values()}
        self.histories = {name: self.histories[name] for name in same if name in self.histories}
        for name, history in self.histories.items():
            history.service_s = specs[name].service_s
        self._publish({name: row for name, row in self.snapshot.rows.items() if name in same})

    def windows(self, name: str) -> list[Window]:
        """Return the windows behind the last demand of a filter that has a row."""
        return self.histories[name].windows(self.config.windows_s)

    def fold(self, node: NodeState, body: bytes, *, started: float, unix: float) -> None:
        """Take one answer of `node` into histories and snapshot."""
        node.take(parse(body, self._pattern), started)
        rows = dict(self.snapshot.rows)
        for queue, spec in self.specs.items():
            counts = node.rows.get(queue)
            if counts is not None and self._believed(node, queue):
                rows[spec.name] = self._row(spec, counts, started, unix, node.url)
            elif counts is None and spec.name in rows and rows[spec.name].node == node.url:
                del rows[spec.name]
        self._publish(rows, started)

    def _row(self, spec: FilterSpec, counts: Counts, started: float, unix: float, node: str) -> Row:
        history = self.histories.get(spec.name)
        if history is None:
            history = self.histories[spec.name] = History(self.config.windows_s[-1], spec.service_s)
        history.append(started, counts.unacked, counts.ready)
        need = demand(
            history.windows(self.config.windows_s),
            Sample(started, counts.unacked, counts.ready, counts.consumers),
            service_s=spec.service_s,
            slots=spec.slots,
            drain_s=spec.drain_s,
            lead_s=spec.lead_s,
            beta=spec.beta,
            windows_s=self.config.windows_s,
        )
        return render(spec, counts, need, started=started, unix=unix, node=node, source=SOURCE)

    def _believed(self, node: NodeState, queue: bytes) -> bool:
        if len(self.nodes) == 1:
            return True
        candidates = {
            each.url: (each.changed[queue], each.rows[queue])
            for each in self.nodes
            if queue in each.rows and (each is node or each.reachable)
        }
        return newest(candidates) == node.url

    def _publish(self, rows: dict[str, Row], last_read: float | None = None) -> None:
        self.snapshot = Snapshot(
            known=frozenset(spec.name for spec in self.specs.values()),
            rows=MappingProxyType(rows),
            serial=self.snapshot.serial + 1,
            last_read=self.snapshot.last_read if last_read is None else last_read,
        )

    async def _follow(self, node: NodeState, session: aiohttp.ClientSession, timeout_s: float) -> None:
        due = self.clock()
        while True:
            started, unix = self.clock(), time.time()
            try:
                body = await read_node(session, node.url, self.config.vhost, timeout_s)
            except ReadError as error:
                node.reads[error.reason] = node.reads.get(error.reason, 0) + 1
                self._reach(node, reachable=False, why=str(error))
            else:
                node.reads["ok"] += 1
                self._reach(node, reachable=True, why="")
                self.fold(node, body, started=started, unix=unix)
            node.read_s = self.clock() - started
            # Late samples are skipped, never caught up in a burst.
            due = max(due + self.config.sample_s, self.clock())
            await asyncio.sleep(due - self.clock())

    def _reach(self, node: NodeState, *, reachable: bool, why: str) -> None:
        if node.reachable != reachable:
            node.reachable = reachable
            event = "broker node answers" if reachable else "broker node does not answer"
            log.info(event, node=node.url, why=why, filters=len(self.specs))
