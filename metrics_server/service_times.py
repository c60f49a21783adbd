"""What is learnt of every filter's service time, from the counters of all broker nodes."""

from collections.abc import Mapping
from typing import NamedTuple

from metrics_server.config import FilterSpec
from surge.policy.service_time import ServiceTime, acked_since

__all__ = ["Counters", "Learnt", "ServiceTimes"]

# Of one node: by queue, the counters that metrics_server.sources.acknowledgements reads.
Counters = Mapping[bytes, Mapping[bytes, float]]


class Learnt(NamedTuple):
    """Service time in wall seconds, and how far it is known: 0 is the catalogue's, below 1 is counted."""

    service_s: float
    known: float


class ServiceTimes:
    """learnt: by filter, replaced as a whole. remember_s: wall seconds, those of the law's longest window."""

    def __init__(self, remember_s: float) -> None:
        self.learnt: Mapping[str, Learnt] = {}
        self._remember_s = remember_s
        self._learners: dict[str, ServiceTime] = {}
        self._queues: dict[str, bytes] = {}
        self._before: Mapping[str, Counters] = {}

    def use(self, specs: Mapping[str, FilterSpec]) -> None:
        """Follow these filters. One with another queue or service time in the catalogue is learnt anew."""
        queues = {name: spec.queue.encode() for name, spec in specs.items()}
        old = {name: each for name, each in self._learners.items() if self._queues[name] == queues.get(name)}
        self._learners = {
            name: old[name]
            if name in old and old[name].catalogue_s == spec.service_s
            else ServiceTime(spec.service_s, remember_s=self._remember_s)
            for name, spec in specs.items()
        }
        self._queues = queues
        self._tell()

    def fold(self, at: float, counters: Mapping[str, Counters], busy_s: Mapping[str, float]) -> None:
        """Take what every node counts, by node, and `History.busy_s` by filter, all read about `at`.

        Without the answer of one node do not call it: the next whole read covers the time since the last.
        """
        for name, queue in self._queues.items():
            if name in busy_s:
                self._learners[name].append(at, self._acked(queue, counters), busy_s[name])
        self._before = counters
        self._tell()

    def _tell(self) -> None:
        self.learnt = {name: Learnt(each.seconds, each.known) for name, each in self._learners.items()}

    def _acked(self, queue: bytes, counters: Mapping[str, Counters]) -> float | None:
        total = 0.0
        for node, now in counters.items():
            before = self._before[node].get(queue, {}) if node in self._before else None
            acked = acked_since(before, now.get(queue, {}))
            if acked is None:
                return None
            total += acked
        return total
