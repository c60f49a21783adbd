"""Who should set the deletion cost, in figures: `python -m lab.deletion_cost` prints the table of ADR 10.

1,000 workers in 20 filters, half of their slots busy, jobs dealt round robin, log-normal service times.
Every five seconds a tenth of one filter would be removed: how many of those have a job in hand?
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import log, sqrt

from surge.policy.scale_in import Worker, moves

__all__ = ["Figures", "simulate"]

FILTERS, WORKERS, BUSY, SHARE = 20, 50, 0.5, 0.1
LENGTH_S, CHECK_S, VARIATION = 400.0, 5.1, 0.72
LOOK_S = 0.5
STEP = int(WORKERS * SHARE)


@dataclass(frozen=True)
class Figures:
    """patches_per_s: of all filters. busy_share: of the workers that a scale-in would take."""

    patches_per_s: float
    busy_share: float


@dataclass
class _Filter:
    """waiting: idle workers, the next to get a job first. backlog: jobs that nobody has begun."""

    waiting: deque[int] = field(default_factory=lambda: deque(range(WORKERS)))
    jobs: list[int] = field(default_factory=lambda: [0] * WORKERS)
    since: list[float] = field(default_factory=lambda: [0.0] * WORKERS)
    marked: set[int] = field(default_factory=set)
    looks: deque[tuple[float, list[tuple[int, float]]]] = field(default_factory=deque)
    backlog: int = 0

    def look(self, now: float) -> None:
        """Keep what a read says now: what each has in hand, and since when."""
        self.looks.append((now, list(zip(self.jobs, self.since, strict=True))))

    def move(self, seen_at: float) -> int:
        """Act upon what was there at `seen_at`; how many patches that took."""
        while len(self.looks) > 1 and self.looks[1][0] <= seen_at:
            self.looks.popleft()
        seen = [
            Worker(str(number), jobs, since, marked=number in self.marked)
            for number, (jobs, since) in enumerate(self.looks[0][1])
        ]
        changes = moves(seen, STEP)
        for change in changes:
            (self.marked.add if change.mark else self.marked.discard)(int(change.pod))
        return len(changes)


def simulate(
    service_s: float, way: str, *, age_s: float = 2.0, tick_s: float = 1.0, seed: int = 1
) -> Figures:
    """way: `none`; `workers`, each patches its own pod at every change; `marks`, as scale_in does, with
    numbers of age_s every tick_s."""
    chance = random.Random(seed)
    fleets = [_Filter() for _ in range(FILTERS)]
    patches, victims, busy = 0, 0, 0
    for now, what, fleet, worker in _events(service_s, chance, fleets, tick_s):
        if what == "changed" and way == "workers":
            patches += 1
            fleets[fleet].marked.symmetric_difference_update({worker})
        elif what == "tick" and way == "marks":
            patches += sum(each.move(now - age_s) for each in fleets)
        elif what == "check" and now > LENGTH_S / 4:
            each = chance.choice(fleets)
            taken = _victims(each, way, chance)
            victims, busy = victims + len(taken), busy + sum(each.jobs[number] for number in taken)
    return Figures(patches / LENGTH_S, busy / victims)


def _victims(each: _Filter, way: str, chance: random.Random) -> list[int]:
    """As the ReplicaSet controller sorts: marked first, the rest in an order that has no part in this."""
    first = each.marked if way == "marks" else set(each.waiting) if way == "workers" else set()
    return sorted(range(WORKERS), key=lambda number: (number not in first, chance.random()))[:STEP]


def _events(
    service_s: float, chance: random.Random, fleets: list[_Filter], tick_s: float
) -> Iterator[tuple[float, str, int, int]]:
    """(time, what, filter, worker): jobs that came and went, and the moments to act."""
    spread = log(1 + VARIATION**2)
    due: list[tuple[float, str, int, int]] = [
        (chance.expovariate(WORKERS * BUSY / service_s), "arrival", fleet, -1) for fleet in range(FILTERS)
    ]
    due += [(each, "check", -1, -1) for each in _every(CHECK_S, CHECK_S)]
    due += [(each, "look", -1, -1) for each in _every(LOOK_S, 0.0)]
    due += [(each, "tick", -1, -1) for each in _every(tick_s, tick_s)]
    heapq.heapify(due)
    while due:
        now, what, fleet, worker = heapq.heappop(due)
        if now > LENGTH_S:
            return
        if what == "look":
            for each in fleets:
                each.look(now)
            continue
        if what in {"tick", "check"}:
            yield now, what, -1, -1
            continue
        each = fleets[fleet]
        if what == "arrival":
            each.backlog += 1
            again = now + chance.expovariate(WORKERS * BUSY / service_s)
            heapq.heappush(due, (again, "arrival", fleet, -1))
        else:
            each.jobs[worker], each.since[worker] = 0, now
            each.waiting.append(worker)
            yield now, "changed", fleet, worker
        while each.backlog and each.waiting:
            taken = each.waiting.popleft()
            each.backlog -= 1
            each.jobs[taken], each.since[taken] = 1, now
            work = chance.lognormvariate(log(service_s) - spread / 2, sqrt(spread))
            heapq.heappush(due, (now + work, "done", fleet, taken))
            yield now, "changed", fleet, taken


def _every(period_s: float, first_s: float) -> Iterator[float]:
    return (first_s + number * period_s for number in range(int(LENGTH_S / period_s)))


def main() -> None:
    print("| service s | none: busy | workers: patches/s | marks 1 s old: patches/s, busy | 4 s | 8 s |")
    for service_s in (2.0, 5.0, 8.0, 20.0, 60.0):
        none, workers = simulate(service_s, "none"), simulate(service_s, "workers")
        marks = [simulate(service_s, "marks", age_s=age_s) for age_s in (1.0, 4.0, 8.0)]
        shown = " | ".join(f"{each.patches_per_s:.1f}, {each.busy_share:.0%}" for each in marks)
        print(f"| {service_s:g} | {none.busy_share:.0%} | {workers.patches_per_s:.0f} | {shown} |")


if __name__ == "__main__":
    main()
