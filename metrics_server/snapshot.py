"""What the server knows at one moment, immutable; a filter's row and answer are made when first asked for.

KEDA asks each filter about twice in 15 s and samples come every 2 s: what costs more than to
remember the counts waits until somebody asks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import orjson

from metrics_server.config import FilterSpec
from metrics_server.service_times import Learnt
from metrics_server.sources import Counts, Table
from surge.policy.demand import Demand
from surge.policy.history import Histories
from surge.policy.pooling import Pooled
from surge.policy.signal import active_ratio, active_ratio_raw

__all__ = ["Read", "Row", "SetRow", "Snapshot"]


@dataclass(frozen=True)
class Read:
    """One answer of the broker. started, unix: monotonic and wall seconds when the read began.

    node: the URL that was read; source: how. learnt, specs: service times and filters by name, as known then.
    law: makes the demand of a row of this read, of the state at `started`, whenever it is called and from
    whatever thread. histories: what `table`, the answer, was added to.
    """

    started: float
    unix: float
    node: str
    source: str
    law: "Callable[[Row], Demand]" = field(repr=False)
    learnt: Mapping[str, Learnt] = field(default_factory=dict, repr=False)
    specs: Mapping[str, FilterSpec] = field(default_factory=dict, repr=False)
    table: Table = field(default_factory=Table, repr=False)
    histories: Histories = field(default_factory=lambda: Histories(0.0, {}), repr=False)

    def row(self, name: str) -> "Row":
        """Return the numbers of a filter whose queue is in the table."""
        # It is not kept here: a cycle would keep the whole answer until the collector comes.
        spec = self.specs[name]
        return Row(spec, self.table[spec.queue.encode()], self)


@dataclass(eq=False)
class Row:
    """One filter's numbers."""

    spec: FilterSpec
    counts: Counts
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
        return cls(bell.spec, counts, oldest.read, bell, parts, mix)

    @cached_property
    def pooled(self) -> Pooled:
        return self.mix(self)

    @property
    def service(self) -> Learnt:
        return Learnt(self.pooled.service_s, self.pooled.known)

    @property
    def waiting(self) -> float:
        return self.pooled.ready


class Rows(Mapping[str, Row]):
    """The rows of filters and of worker sets, each made when it is first asked for.

    reads: by name of a filter or of a set, whose bell is meant; the last answer that was believed.
    Without the numbers of one member a set has none: it would be staffed for the others alone.
    """

    def __init__(
        self,
        reads: Mapping[str, Read],
        sets: Mapping[str, FilterSpec],
        mix: Callable[[SetRow], Pooled],
    ) -> None:
        self.reads = reads
        self._sets, self._mix = sets, mix
        self._made: dict[str, Row] = {}

    def __getitem__(self, name: str) -> Row:
        row = self._made.get(name)
        if row is None:
            row = self._made[name] = self._make(name)
        return row

    def _make(self, name: str) -> Row:
        row = self.reads[name].row(name)
        if name in self._sets:
            parts = tuple(self[member] for member in self._sets[name].members)
            return SetRow.of(row, parts, self._mix)
        return row

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.reads if name not in self._sets or self._whole(self._sets[name]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _whole(self, spec: FilterSpec) -> bool:
        return all(member in self.reads for member in spec.members)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`known`: every filter and worker set; `rows`: those with numbers. `serial` grows by one each."""

    known: frozenset[str]
    rows: Rows
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
