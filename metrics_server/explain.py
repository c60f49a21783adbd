"""Why a filter gets the workers it gets: the inputs, and the formulas with the numbers put in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import orjson

from metrics_server.snapshot import Row, SetRow
from surge.policy.history import Window

__all__ = ["Explanation", "explained"]


def explained(
    row: Row,
    windows: Sequence[Window],
    windows_s: Sequence[float],
    *,
    age_s: float,
    stale_s: float,
    live_consumers: int | None = None,
) -> bytes:
    """Return the indented JSON of `row`. windows: those behind its demand; windows_s: their lengths.

    live_consumers: of this moment; shown beside the inputs and never one of them. None for unknown.
    """
    why = Explanation(row, windows, windows_s)
    spec, counts = row.spec, row.counts
    answer = {
        "filter": spec.name,
        "queue": spec.queue,
        "desired_workers": row.demand.desired_workers,
        "active_ratio": row.active_ratio,
        "settled": row.demand.settled,
        "why": list(why.lines()),
        "won": {"window_s": windows_s[why.believed], "headroom": why.headroom_of, "floor": why.floor},
        "inputs": {
            "unacked": counts.unacked,
            "ready": counts.ready,
            "consumers": counts.consumers,
            "slots": spec.slots,
            "service_s": round(row.service.service_s, 3),
            "service_s_from": "acknowledgements" if row.service.known else "catalogue",
            "service_s_known": round(row.service.known, 3),
            "drain_s": spec.drain_s,
            "lead_s": spec.lead_s,
            "beta": spec.beta,
        },
        **({"members": _members(row)} if isinstance(row, SetRow) else {}),
        "live_consumers": live_consumers,
        "windows": [
            {
                "length_s": length,
                "span_s": round(window.span_s, 3),
                "mean_unacked": round(window.mean_unacked, 3),
                "growth": round(window.growth, 3),
                "load": round(load, 3),
            }
            for length, window, load in zip(windows_s, windows, why.loads, strict=True)
        ],
        "read": {"source": row.source, "node": row.node, "age_s": round(age_s, 3), "stale_s": stale_s},
    }
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True)
class Explanation:
    """The steps of `surge.policy.demand.demand` one by one; `workers` is what it returned."""

    row: Row
    windows: Sequence[Window]
    windows_s: Sequence[float]

    @property
    def service_s(self) -> float:
        return self.row.service.service_s

    @property
    def loads(self) -> list[float]:
        return [
            window.load(self.service_s, min(length, self.windows_s[1]))
            for length, window in zip(self.windows_s, self.windows, strict=True)
        ]

    @property
    def believed(self) -> int:
        """Index of the window behind the offered load: the longest with this load."""
        loads = self.loads
        return min(
            range(len(loads)),
            key=lambda at: (abs(loads[at] - self.row.demand.offered_load), -self.windows_s[at]),
        )

    @property
    def load(self) -> float:
        return self.loads[self.believed] if self.row.demand.offered_load else 0.0

    @property
    def capacity(self) -> float:
        return max(self.row.counts.consumers * self.row.spec.slots, self.windows[-2].mean_unacked)

    @property
    def backlog(self) -> float:
        missing = self.load - self.capacity
        return max(0.0, self.row.waiting, missing * self.row.spec.lead_s / self.service_s)

    @property
    def within_drain(self) -> float:
        """Slots that are through the backlog after the drain time, with nobody joining it."""
        return self.backlog * self.service_s / self.row.spec.drain_s

    @property
    def headrooms(self) -> tuple[float, float]:
        """Slots for chance, slots for the backlog; the larger one counts."""
        chance, known = self.row.spec.beta * sqrt(self.load), self.row.service.known
        return chance, known * chance + self.within_drain / (1 + known)

    @property
    def headroom_of(self) -> str:
        chance, backlog = self.headrooms
        return "backlog" if backlog > chance else "square-root staffing"

    @property
    def asked(self) -> float:
        return max(self.load + max(self.headrooms), self.within_drain) / self.row.spec.slots

    @property
    def floors(self) -> dict[str, float]:
        """What the workers may not fall below, by its reason."""
        counts = self.row.counts
        floors = {"a message waits or is held": 1.0} if counts.ready > 0 or counts.unacked > 0 else {}
        if not self.row.demand.settled:
            floors["not settled: nothing scales in on a guess"] = max(0.0, counts.consumers)
        return floors

    @property
    def floor(self) -> str | None:
        highest = max(self.floors.items(), key=lambda each: each[1], default=None)
        return highest[0] if highest is not None and highest[1] > self.asked else None

    @property
    def workers(self) -> float:
        return round(max(self.asked, *self.floors.values(), 0.0), 3)

    def lines(self) -> Iterator[str]:
        if isinstance(self.row, SetRow):
            yield (
                f"a set of {len(self.row.parts)} filters: U and B are their sums, S = {_n(self.service_s)} s"
                " is their mean over busy slots; what waits and grows is counted in messages of S"
            )
        yield self._ratio()
        yield from self._offered()
        yield from self._wanted()

    def _ratio(self) -> str:
        counts, slots = self.row.counts, self.row.spec.slots
        if counts.consumers <= 0:
            return f"active ratio = {_n(self.row.active_ratio)}: no consumers; 1 when a message waits, else 0"
        places = f"{_n(counts.consumers)}·{slots}"
        return (
            "active ratio = min(U, C·slots) / (C·slots)"
            f" = min({_n(counts.unacked)}, {places}) / ({places}) = {_n(self.row.active_ratio)}"
        )

    def _offered(self) -> Iterator[str]:
        at = self.believed
        window, length = self.windows[at], self.windows_s[at]
        over = max(window.span_s, min(length, self.windows_s[1]))
        yield (
            f"load x = mean U + S·growth/span = {_n(window.mean_unacked)}"
            f" + {_n(self.service_s)}·{_n(window.growth)}/{_n(over)} = {_n(self.load)} busy slots"
        )
        longest = self.windows_s[-1]
        if at == len(self.windows) - 1:
            yield f"x is that of the longest window, {_n(longest)} s: no shorter one differs beyond chance"
        else:
            yield (
                f"x is that of the {_n(length)} s window: it differs beyond chance"
                f" from the {_n(self.loads[-1])} of the {_n(longest)} s window"
            )

    def _wanted(self) -> Iterator[str]:
        spec, x, b = self.row.spec, _n(self.load), _n(self.backlog)
        chance, backlog = self.headrooms
        lead = f"({x} - {_n(self.capacity)})·{_n(spec.lead_s)}/{_n(self.service_s)}"
        ready = _n(self.row.waiting)
        yield f"backlog B = max(ready, (x - capacity)·L/S) = max({ready}, {lead}) = {b} messages"
        root, drained = f"{_n(spec.beta)}·√{x}", f"{b}·{_n(self.service_s)}/{_n(spec.drain_s)}"
        formula, terms = "β·√x, B·S/D", f"{root}, {drained}"
        if known := self.row.service.known:
            yield f"S is learnt, known k = {_n(known)}: the backlog may take D·(1 + k) beside the headroom"
            formula = "β·√x, k·β·√x + B·S/D/(1+k)"
            terms = f"{root}, {_n(known)}·{root} + {drained}/{_n(1 + known)}"
        larger = f"max({_n(chance)}, {_n(backlog)}): {self.headroom_of}"
        yield f"headroom = max({formula}) = max({terms}) = {larger}"
        total = f"({x} + {_n(max(chance, backlog))})"
        if self.within_drain > self.load + max(chance, backlog):
            total = _n(self.within_drain)
            yield f"the last of the backlog would wait for more than D: at least B·S/D = {total}"
        yield f"workers = (x + headroom) / slots = {total} / {spec.slots} = {_n(self.asked)}"
        for reason, least in self.floors.items():
            yield f"{reason}: at least {_n(least)}"
        if not self.row.demand.settled:
            seen, want = _n(self.row.demand.window_s), _n(self.windows_s[-1])
            yield f"settled once the longest window is whole: {seen} of {want} s seen"
        yield f"desired workers = {_n(self.workers)}"


def _members(row: SetRow) -> dict[str, dict[str, float]]:
    return {
        part.spec.name: {
            "unacked": part.counts.unacked,
            "ready": part.counts.ready,
            "service_s": round(part.service.service_s, 3),
            "offered_load": part.demand.offered_load,
        }
        for part in row.parts
    }


def _n(number: float) -> str:
    return f"{round(number, 3):.10g}"
