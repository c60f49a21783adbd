"""Why a filter gets the workers it gets: the inputs, and the formulas with the numbers put in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import orjson

from metrics_server.snapshot import Row
from surge.policy.history import Window

__all__ = ["Explanation", "explained"]


def explained(why: "Explanation", *, age_s: float, stale_s: float) -> bytes:
    """Return the indented JSON of a row."""
    row, windows, windows_s = why.row, why.windows, why.windows_s
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
            "service_s": round(why.service_s, 3),
            "service_s_from": "learnt" if why.known else "catalogue",
            "service_s_known": round(why.known, 3),
            "drain_s": spec.drain_s,
            "lead_s": spec.lead_s,
            "beta": spec.beta,
        },
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
    """The steps of `surge.policy.demand.demand` one by one; `workers` is what it returned.

    windows, service_s, known: what it was given for `row`; windows_s: lengths of the windows.
    """

    row: Row
    windows: Sequence[Window]
    windows_s: Sequence[float]
    service_s: float
    known: float

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
        missing = (self.load - self.capacity) * self.row.spec.lead_s / self.service_s
        return max(0.0, self.row.counts.ready, missing)

    @property
    def chance(self) -> float:
        """Slots of the square-root rule."""
        return self.row.spec.beta * sqrt(self.load)

    @property
    def at_once(self) -> float:
        """Slots that work the backlog off in the drain time."""
        return self.backlog * self.service_s / self.row.spec.drain_s

    @property
    def draining(self) -> float:
        """Slots beside the load for chance and backlog, the calmer the better S is known."""
        return self.known * self.chance + self.at_once / (1 + self.known)

    @property
    def headroom_of(self) -> str:
        return "backlog" if self.draining > self.chance else "square-root staffing"

    @property
    def asked(self) -> float:
        return max(self.load + max(self.chance, self.draining), self.at_once) / self.row.spec.slots

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
        spec, x, b, k = self.row.spec, _n(self.load), _n(self.backlog), _n(self.known)
        ready, service, drain = _n(self.row.counts.ready), _n(self.service_s), _n(spec.drain_s)
        lead = f"({x} - {_n(self.capacity)})·{_n(spec.lead_s)}/{service}"
        yield f"backlog B = max(ready, (x - capacity)·L/S) = max({ready}, {lead}) = {b} messages"
        chance, at_once = _n(self.chance), _n(self.at_once)
        yield f"slots for chance = β·√x = {_n(spec.beta)}·√{x} = {chance}"
        yield f"slots for the backlog = B·S/D = {b}·{service}/{drain} = {at_once}"
        if self.known:
            terms = f"max({chance}, {k}·{chance} + {at_once}/(1 + {k}))"
            yield f"S is known to k = {k}: headroom = max(chance, k·chance + backlog/(1 + k)) = {terms}"
        headroom = _n(max(self.chance, self.draining))
        yield f"headroom = {headroom}: {self.headroom_of}"
        slots = f"max({x} + {headroom}, {at_once}) / {spec.slots}"
        yield f"workers = max(x + headroom, B·S/D) / slots = {slots} = {_n(self.asked)}"
        for reason, least in self.floors.items():
            yield f"{reason}: at least {_n(least)}"
        if not self.row.demand.settled:
            seen, want = _n(self.row.demand.window_s), _n(self.windows_s[-1])
            yield f"settled once the longest window is whole: {seen} of {want} s seen"
        yield f"desired workers = {_n(self.workers)}"


def _n(number: float) -> str:
    return f"{round(number, 3):.10g}"
