"""What the server knows at one moment, immutable; each answer is rendered once, when first asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Self

import orjson

from metrics_server.config import FilterSpec
from metrics_server.service_times import Learnt
from metrics_server.sources import Counts
from surge.policy.demand import Demand
from surge.policy.history import History
from surge.policy.pooling import Pooled
from surge.policy.signal import active_ratio, active_ratio_raw

__all__ = ["Read", "Row", "SetRow", "Snapshot"]


@dataclass(frozen=True)
class Read:
    """One answer of the broker. started, unix: monotonic and wall seconds when the read began.

    node: the URL that was read; source: how. learnt: service times by filter, as known then.
    law: makes the demand of a row of this read, of the state at `started`, whenever it is called and from
    whatever thread.
    """

    started: float
    unix: float
    node: str
    source: str
    law: "Callable[[Row], Demand]" = field(repr=False)
    learnt: Mapping[str, Learnt] = field(default_factory=dict, repr=False)


@dataclass(eq=False)
class Row:
    """One filter's numbers.

    KEDA asks each filter about twice in 15 s and samples come every 2 s: what costs more than to
    remember the counts waits until somebody asks.
    """

    spec: FilterSpec
    counts: Counts
    history: History = field(repr=False)
    read: Read = field(repr=False)

    @property
    def started(self) -> float:
        return self.read.started

    @property
    def node(self) -> str:
        return self.read.node

    @property
    def source(self) -> str:
        return self.read.source

    @property
    def active_ratio(self) -> float:
        counts = self.counts
        return active_ratio(counts.unacked, counts.consumers, counts.ready, self.spec.slots)

    @property
    def active_ratio_raw(self) -> float:
        return active_ratio_raw(self.counts.unacked, self.counts.consumers, self.counts.ready)

    @property
    def service(self) -> Learnt:
        """What the law takes for the service time: learnt, or the catalogue's."""
        return self.read.learnt.get(self.spec.name) or Learnt(self.spec.service_s, 0.0)

    @property
    def waiting(self) -> float:
        """The backlog, in messages of the service time that the law takes."""
        return self.counts.ready

    @cached_property
    def demand(self) -> Demand:
        return self.read.law(self)

    @cached_property
    def body(self) -> bytes:
        """The JSON object without its end: the age is added when it is served."""
        return orjson.dumps(
            {
                "filter": self.spec.name,
                "active_ratio": self.active_ratio,
                "active_ratio_raw": self.active_ratio_raw,
                "desired_workers": self.demand.desired_workers,
                "offered_load": self.demand.offered_load,
                "unacked": int(self.counts.unacked),
                "consumers": int(self.counts.consumers),
                "ready": int(self.counts.ready),
                "sampled_at": round(self.read.unix, 3),
                "source": self.source,
                "window_s": self.demand.window_s,
                "settled": self.demand.settled,
            }
        )[:-1]

    def answer(self, now: float) -> bytes:
        """Return the flat JSON object at `now` (monotonic seconds)."""
        return b'%b,"age_s":%.3f}' % (self.body, max(0.0, now - self.started))


@dataclass(eq=False)
class SetRow(Row):
    """One worker set's numbers: U and B are sums over its members, C is of the bell. As old as its oldest.

    mix: the members as one filter, of the state at their reads, whenever it is called.
    """

    bell: Row = field(repr=False)
    parts: tuple[Row, ...] = field(repr=False)
    mix: "Callable[[SetRow], Pooled]" = field(repr=False)

    @classmethod
    def of(cls, bell: Row, parts: tuple[Row, ...], mix: "Callable[[SetRow], Pooled]") -> Self:
        unacked, ready = (sum(getattr(row.counts, name) for row in parts) for name in ("unacked", "ready"))
        counts = Counts(ready=ready, unacked=unacked, consumers=bell.counts.consumers)
        oldest = min((bell, *parts), key=lambda row: row.started)
        return cls(bell.spec, counts, bell.history, oldest.read, bell, parts, mix)

    @cached_property
    def pooled(self) -> Pooled:
        return self.mix(self)

    @property
    def service(self) -> Learnt:
        return Learnt(self.pooled.service_s, self.pooled.known)

    @property
    def waiting(self) -> float:
        return self.pooled.ready


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`known`: every filter and worker set; `rows`: those with numbers. `serial` grows by one each."""

    known: frozenset[str] = frozenset()
    rows: Mapping[str, Row] = field(default_factory=lambda: MappingProxyType({}))
    serial: int = 0
    last_read: float | None = None

    def fresh(self, name: str, now: float, stale_s: float) -> Row | None:
        """Return the row of `name` if it is at most `stale_s` old, else None: unknown is never zero."""
        row = self.rows.get(name)
        return row if row is not None and now - row.started <= stale_s else None

    def all_fresh(self, now: float, stale_s: float) -> Iterator[tuple[str, Row]]:
        for name, row in self.rows.items():
            if now - row.started <= stale_s:
                yield name, row
