"""What the server knows at one moment, immutable, with each answer rendered once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from metrics_server.config import FilterSpec
from metrics_server.rabbitmq import Counts
from surge.policy.demand import Demand
from surge.policy.signal import active_ratio, active_ratio_raw

__all__ = ["Row", "Snapshot", "render"]


@dataclass(frozen=True, slots=True)
class Row:
    """One filter's numbers. `started`: monotonic seconds when the read behind them began.

    `body` is the JSON object without its end: the age is added when it is served.
    """

    spec: FilterSpec
    started: float
    node: str
    source: str
    counts: Counts
    active_ratio: float
    active_ratio_raw: float
    demand: Demand
    body: bytes = field(repr=False)

    def answer(self, now: float) -> bytes:
        """Return the flat JSON object at `now` (monotonic seconds)."""
        return b'%b,"age_s":%.3f}' % (self.body, max(0.0, now - self.started))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`known`: every filter of the catalogue; `rows`: those with numbers. `serial` grows by one each."""

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


def render(
    spec: FilterSpec, counts: Counts, demand: Demand, *, started: float, unix: float, node: str, source: str
) -> Row:
    """Return the row to serve.

    unix: the wall clock when the read began; node: the broker node's URL; source: how it was read.
    """
    ratio = active_ratio(counts.unacked, counts.consumers, counts.ready, spec.slots)
    raw = active_ratio_raw(counts.unacked, counts.consumers, counts.ready)
    body = orjson.dumps(
        {
            "filter": spec.name,
            "active_ratio": ratio,
            "active_ratio_raw": raw,
            "desired_workers": demand.desired_workers,
            "offered_load": demand.offered_load,
            "unacked": int(counts.unacked),
            "consumers": int(counts.consumers),
            "ready": int(counts.ready),
            "sampled_at": round(unix, 3),
            "source": source,
            "window_s": demand.window_s,
            "settled": demand.settled,
        }
    )
    return Row(spec, started, node, source, counts, ratio, raw, demand, body[:-1])
