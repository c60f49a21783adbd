"""What is learnt of every filter's service time, from the counters of all broker nodes."""

from collections.abc import Mapping

from metrics_server.config import FilterSpec
from surge.policy.service_time import ServiceTime, acked_since

__all__ = ["Counters", "ServiceTimes"]

# Of one node: by queue, the counters that metrics_server.acknowledgements reads.
Counters = Mapping[bytes, Mapping[bytes, float]]


class ServiceTimes:
    """remember_s: wall seconds, those of the law's longest window."""

    def __init__(self, remember_s: float) -> None:
        self._remember_s = remember_s
        self._learnt: dict[str, ServiceTime] = {}
        self._queues: dict[str, bytes] = {}
        self._before: Mapping[str, Counters] = {}

    def use(self, specs: Mapping[str, FilterSpec]) -> None:
        """Follow these filters. One with another queue or service time in the catalogue is learnt anew."""
        queues = {name: spec.queue.encode() for name, spec in specs.items()}
        old = {name: each for name, each in self._learnt.items() if self._queues[name] == queues.get(name)}
        self._learnt = {
            name: old[name]
            if name in old and old[name].catalogue_s == spec.service_s
            else ServiceTime(spec.service_s, remember_s=self._remember_s)
            for name, spec in specs.items()
        }
        self._queues = queues

    def of(self, spec: FilterSpec) -> tuple[float, float]:
        """Return the service time of a filter and how far it is known, from 0 to below 1."""
        learnt = self._learnt.get(spec.name)
        return (spec.service_s, 0.0) if learnt is None else (learnt.seconds, learnt.known)

    def fold(self, at: float, counters: Mapping[str, Counters], busy_s: Mapping[str, float]) -> None:
        """Take what every node counts, by node, and `History.busy_s` by filter, all read about `at`.

        Without the answer of one node do not call it: the next whole read covers the time since the last.
        """
        for name, queue in self._queues.items():
            if name in busy_s:
                self._learnt[name].append(at, self._acked(queue, counters), busy_s[name])
        self._before = counters

    def _acked(self, queue: bytes, counters: Mapping[str, Counters]) -> float | None:
        total = 0.0
        for node, now in counters.items():
            before = self._before[node].get(queue, {}) if node in self._before else None
            acked = acked_since(before, now.get(queue, {}))
            if acked is None:
                return None
            total += acked
        return total
