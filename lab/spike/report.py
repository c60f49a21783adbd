"""What a spike's journal says: pure functions from lists of events to figures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["FilterFacts", "filter_figures", "total_figures", "waits_of"]

PERCENTILES = {"wait_p50_s": 0.50, "wait_p95_s": 0.95, "wait_p99_s": 0.99}
# From the step to the last worker Ready: a warm-up, and looks of the HPA until it has asked for all of them.
CAPACITY_SYNCS = 3
SUMMED = (
    "published",
    "finished",
    "lost",
    "finished_twice",
    "finished_twice_unexplained",
    "redelivered",
    "redelivered_by_scale_in",
    "victims",
    "busy_victims",
    "late",
    "peak_workers",
    "worker_seconds",
    "busy_seconds",
)


@dataclass(frozen=True, kw_only=True)
class FilterFacts:
    """One filter's share of a run. published: message id -> unix time. events: its journal, in order.

    slo_s, warmup_s, hpa_sync_s: model seconds. capacity: slots that must be Ready at the plateau.
    spike_at, start, end: unix times.
    """

    signal: str
    slots: int
    slo_s: float
    warmup_s: float
    hpa_sync_s: float
    capacity: float
    published: Mapping[str, float]
    events: Sequence[Mapping[str, Any]]
    spike_at: float
    start: float
    end: float


def filter_figures(facts: FilterFacts, factor: float) -> dict[str, Any]:
    """Figures of one filter; times in model seconds, `factor` of them in a wall second.

    capacity_bound_s: the time for its workers that can be hoped for, see CAPACITY_SYNCS.
    """
    mine = [event for event in facts.events if event.get("message_id") in facts.published]
    finished = Counter(event["message_id"] for event in mine if event["event"] == "finished")
    again = {event["message_id"] for event in mine if event["event"] == "started" and event["redelivered"]}
    waits = sorted(_waits(mine, facts.published, factor).values())
    late = sum(wait > facts.slo_s for wait in waits) + len(set(facts.published) - set(finished))
    twice = {key for key, count in finished.items() if count > 1}
    workers, peak = _worker_seconds(facts)
    return {
        "signal": facts.signal,
        "time_factor": factor,
        "published": len(facts.published),
        "finished": len(finished),
        "lost": len(set(facts.published) - set(finished)),
        "finished_twice": len(twice),
        "finished_twice_unexplained": len(twice - _in_doubt(facts, mine)),
        "redelivered": len(again),
        "redelivered_by_scale_in": len(again & _sent_back_by_scale_in(facts, mine)),
        **_victims(facts),
        "late": late,
        "late_share": _share(late, len(facts.published)),
        **{name: _percentile(waits, part) for name, part in PERCENTILES.items()},
        "warmup_s": facts.warmup_s,
        "hpa_sync_s": facts.hpa_sync_s,
        "time_to_capacity_s": _time_to_capacity(facts, factor),
        "capacity_bound_s": round(facts.warmup_s + CAPACITY_SYNCS * facts.hpa_sync_s, 1),
        "peak_workers": peak,
        "worker_seconds": round(workers * factor, 1),
        "busy_seconds": round(_busy_seconds(mine) * factor, 1),
    }


def total_figures(filters: Iterable[Mapping[str, Any]], waits: Sequence[float]) -> dict[str, Any]:
    """All filters together. waits: of every message, model seconds.

    peak_workers: the sum of the filters' peaks, which need not fall together. time_to_capacity_s: of the
    slowest filter, None when one never got there. warmup_s: the longest. time_factor, hpa_sync_s: of all.
    """
    figures = list(filters)
    total: dict[str, Any] = {name: round(sum(item[name] for item in figures), 1) for name in SUMMED}
    total["late_share"] = _share(total["late"], total["published"])
    reached = [item["time_to_capacity_s"] for item in figures]
    total["time_to_capacity_s"] = None if None in reached else max(reached)
    total |= {name: max(item[name] for item in figures) for name in ("time_factor", "warmup_s", "hpa_sync_s")}
    in_order = sorted(waits)
    return total | {name: _percentile(in_order, part) for name, part in PERCENTILES.items()}


def waits_of(facts: FilterFacts, factor: float) -> list[float]:
    """From publish to the first start of the work, model seconds, of every message that was started."""
    return list(_waits(facts.events, facts.published, factor).values())


def _waits(
    events: Iterable[Mapping[str, Any]], published: Mapping[str, float], factor: float
) -> dict[str, float]:
    waits: dict[str, float] = {}
    for event in events:
        identifier = event.get("message_id")
        if identifier is None or identifier not in published or identifier in waits:
            continue
        if event["event"] == "started":
            waits[identifier] = max(0.0, (event["t"] - published[identifier]) * factor)
    return waits


def _sent_back_by_scale_in(facts: FilterFacts, mine: Sequence[Mapping[str, Any]]) -> set[str]:
    """Messages whose worker began them and had to go, and those that came back before anybody began them.

    The latter crossed the cancel of a worker that went, unless a crash in this run explains them.
    """
    begun_and_left = {
        event["message_id"]
        for event in mine
        if event["event"] == "abandoned" and event["reason"] == "scale_in"
    }
    if _broken(facts):
        return begun_and_left
    firsts: dict[str, bool] = {}
    for event in mine:
        if event["event"] == "started":
            firsts.setdefault(event["message_id"], event["redelivered"])
    return begun_and_left | {key for key, redelivered in firsts.items() if redelivered}


def _victims(facts: FilterFacts) -> dict[str, int]:
    """Workers that were deleted while requests came, and those of them that had a job in hand then."""
    last = max(facts.published.values(), default=facts.start)
    in_hand: dict[str, set[str]] = {}
    victims = busy = 0
    for event in facts.events:
        jobs = in_hand.setdefault(event["worker"], set())
        if event["event"] == "started":
            jobs.add(event["message_id"])
        elif event["event"] in {"finished", "abandoned"}:
            jobs.discard(event["message_id"])
        elif event["event"] == "draining" and facts.start <= event["t"] <= last:
            victims += 1
            busy += bool(jobs)
    return {"victims": victims, "busy_victims": busy}


def _in_doubt(facts: FilterFacts, mine: Iterable[Mapping[str, Any]]) -> set[str]:
    """Messages finished by a worker that was killed or lost the broker in this run.

    Its ack, or the publisher's confirm, may have been lost with the connection: the broker is right to
    deliver such a message again, and the second worker to finish it.
    """
    broken = _broken(facts)
    return {
        event["message_id"] for event in mine if event["event"] == "finished" and event["worker"] in broken
    }


def _broken(facts: FilterFacts) -> set[str]:
    return {
        event["worker"]
        for event in facts.events
        if event["event"] in {"killed", "unready"} and facts.start <= event["t"] <= facts.end
    }


def _busy_seconds(events: Iterable[Mapping[str, Any]]) -> float:
    """Wall seconds of work, also of work that came to nothing."""
    since: dict[tuple[str, str], float] = {}
    total = 0.0
    for event in events:
        key = (event["worker"], event["message_id"])
        if event["event"] == "started":
            since[key] = event["t"]
        elif key in since:
            total += event["t"] - since.pop(key)
    return total


def _worker_seconds(facts: FilterFacts) -> tuple[float, int]:
    """Wall seconds that workers existed between start and end, warming ones too; and the most at a time."""
    alive: set[str] = set()
    total, peak, last = 0.0, 0, facts.start
    for event in facts.events:
        at = min(max(event["t"], facts.start), facts.end)
        total += len(alive) * (at - last)
        last = at
        if event["t"] >= facts.start:
            peak = max(peak, len(alive))
        if event["event"] in {"warming", "ready", "unready", "draining"}:
            alive.add(event["worker"])
        elif event["event"] in {"drained", "killed"}:
            alive.discard(event["worker"])
    peak = max(peak, len(alive))
    return total + len(alive) * (facts.end - last), peak


def _time_to_capacity(facts: FilterFacts, factor: float) -> float | None:
    """Model seconds from the spike until enough slots are Ready; None when they never are."""
    ready: set[str] = set()
    for event in facts.events:
        if event["event"] == "ready":
            ready.add(event["worker"])
        elif event["event"] in {"unready", "draining", "drained", "killed"}:
            ready.discard(event["worker"])
        if event["t"] >= facts.spike_at and len(ready) * facts.slots >= facts.capacity:
            return round((event["t"] - facts.spike_at) * factor, 1)
    return None


def _percentile(in_order: Sequence[float], part: float) -> float | None:
    if not in_order:
        return None
    return round(in_order[min(len(in_order) - 1, int(part * len(in_order)))], 3)


def _share(part: float, whole: float) -> float:
    return round(part / whole, 6) if whole else 0.0
