"""One queue and its workers: messages wait in order, a worker warms, consumes one at a time, drains.

Event by event, with arrivals and service times given beforehand: every law that is compared meets
the same requests with the same work in them.
"""

import numpy as np
from numpy.typing import NDArray

from surge.twin.compiled import compiled

__all__ = ["Fleet"]

Floats = NDArray[np.float64]

# Places in Fleet.count, kept in one array so that the compiled loop can change them.
ARRIVED, STARTED, IDLE, BUSY, LEAVING, WARMED, ORDERED = range(7)
# Places in Fleet.clock.
NOW, WORKER_S = range(2)


class Fleet:
    """arrivals_s: when requests come, in order. work_s: what each takes. most: workers there can be."""

    def __init__(self, arrivals_s: Floats, work_s: Floats, *, idle: int, most: int, seed: int = 0) -> None:
        self.arrivals_s, self.work_s = arrivals_s, work_s
        self.waited_s = np.full(len(arrivals_s), np.nan)
        self._count = np.zeros(7, dtype=np.int64)
        self._count[IDLE] = idle
        self._clock = np.zeros(2)
        # Those that leave while busy stay until they are done, above what is wanted.
        room = 2 * max(most, idle) + 64
        self._ends_s = np.zeros(room)
        self._leaves = np.zeros(room, dtype=np.bool_)
        self._ready_s = np.zeros(room)
        self._random = np.random.default_rng(seed)

    @property
    def now_s(self) -> float:
        return float(self._clock[NOW])

    @property
    def worker_s(self) -> float:
        """Worker seconds so far: warming, idle, busy and draining ones all hold their GPU."""
        return float(self._clock[WORKER_S])

    @property
    def arrived(self) -> int:
        return int(self._count[ARRIVED])

    @property
    def finished(self) -> int:
        return int(self._count[STARTED] - self._count[BUSY])

    @property
    def waiting(self) -> int:
        return int(self._count[ARRIVED] - self._count[STARTED])

    @property
    def unacked(self) -> int:
        return int(self._count[BUSY])

    @property
    def consumers(self) -> int:
        """Draining ones count until they have settled, as a quorum queue counts them."""
        return int(self._count[IDLE] + self._count[BUSY])

    @property
    def ready(self) -> int:
        """Ready pods: a draining one is not."""
        return self.consumers - int(self._count[LEAVING])

    @property
    def warming(self) -> int:
        return int(self._count[ORDERED] - self._count[WARMED])

    @property
    def replicas(self) -> int:
        return self.ready + self.warming

    @property
    def held(self) -> int:
        """Workers that hold a GPU."""
        return self.consumers + self.warming

    def advance(self, until_s: float) -> None:
        """Play every event up to `until_s`."""
        _advance(
            until_s,
            self._count,
            self._clock,
            (self.arrivals_s, self.work_s, self.waited_s),
            (self._ends_s, self._leaves, self._ready_s),
        )

    def resize(self, wanted: int, *, lead_s: float, idle_first: bool) -> None:
        """Order workers that consume after `lead_s`, or send some away.

        As a ReplicaSet does: warming ones go first, the youngest before the others. Of the rest the
        idle ones go when idle_first (pod-deletion-cost), else any.
        """
        missing = wanted - self.replicas
        if missing >= 0:
            self._order(missing, lead_s)
            return
        unborn = min(-missing, self.warming)
        self._count[ORDERED] -= unborn
        leaving = -missing - unborn
        idle, busy = int(self._count[IDLE]), int(self._count[BUSY] - self._count[LEAVING])
        if idle_first:
            rest = min(leaving, idle)
        else:
            rest = int(self._random.hypergeometric(idle, busy, leaving)) if leaving else 0
        self._count[IDLE] -= rest
        self._drain(leaving - rest)

    def _order(self, workers: int, lead_s: float) -> None:
        room = len(self._ready_s)
        if self.warming + workers > room:
            raise OverflowError(f"{self.warming + workers} workers warm up, there is room for {room}")
        for place in range(self._count[ORDERED], self._count[ORDERED] + workers):
            self._ready_s[place % room] = self.now_s + lead_s
        self._count[ORDERED] += workers

    def _drain(self, workers: int) -> None:
        if workers:
            staying = np.flatnonzero(~self._leaves[: self._count[BUSY]])
            self._leaves[self._random.choice(staying, workers, replace=False)] = True
            self._count[LEAVING] += workers


@compiled
def _advance(until_s, count, clock, requests, workers):
    arrivals_s, work_s, waited_s = requests
    ends_s, leaves, ready_s = workers
    while True:
        came = arrivals_s[count[ARRIVED]] if count[ARRIVED] < len(arrivals_s) else np.inf
        ended = ends_s[0] if count[BUSY] else np.inf
        warm = ready_s[count[WARMED] % len(ready_s)] if count[WARMED] < count[ORDERED] else np.inf
        at = min(came, ended, warm, until_s)
        held = count[IDLE] + count[BUSY] + count[ORDERED] - count[WARMED]
        clock[WORKER_S] += held * (at - clock[NOW])
        clock[NOW] = at
        if ended == at:
            if leaves[0]:
                count[LEAVING] -= 1
            else:
                count[IDLE] += 1
            _pop(count, ends_s, leaves)
        elif warm == at:
            count[WARMED] += 1
            count[IDLE] += 1
        elif came == at:
            count[ARRIVED] += 1
        else:
            return
        while count[IDLE] and count[STARTED] < count[ARRIVED]:
            message = count[STARTED]
            waited_s[message] = at - arrivals_s[message]
            count[STARTED] += 1
            count[IDLE] -= 1
            _push(count, ends_s, leaves, at + work_s[message])


@compiled
def _push(count, ends_s, leaves, end):
    place = count[BUSY]
    count[BUSY] += 1
    while place > 0 and ends_s[(place - 1) // 2] > end:
        above = (place - 1) // 2
        ends_s[place], leaves[place] = ends_s[above], leaves[above]
        place = above
    ends_s[place], leaves[place] = end, False


@compiled
def _pop(count, ends_s, leaves):
    count[BUSY] -= 1
    last = count[BUSY]
    end, leave = ends_s[last], leaves[last]
    leaves[last] = False
    place = 0
    while True:
        below = 2 * place + 1
        if below >= last:
            break
        if below + 1 < last and ends_s[below + 1] < ends_s[below]:
            below += 1
        if ends_s[below] >= end:
            break
        ends_s[place], leaves[place] = ends_s[below], leaves[below]
        place = below
    if last > 0:
        ends_s[place], leaves[place] = end, leave
