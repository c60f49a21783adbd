"""Mean service time by Little's law, for brokers that count acknowledgements.

S = busy seconds / completions. Unacked and ready messages alone do not give it: they fix the
product of arrivals and S, never one of the two. RabbitMQ 3.10 counts per channel and queue
(`channel_queue_metrics`), 4.x also per queue (`queue_delivery_metrics`): `acked_since` takes both.
"""

from collections.abc import Mapping
from math import exp, inf, isfinite
from typing import Any

__all__ = ["ServiceTime", "acked_since", "learnt_service_s"]

# The catalogue counts as this many completions: a handful of long requests does not overrule it.
PRIOR = 20.0

# Further off than this, the counters are not what they are taken for (a consumer that acks early,
# a prefetch above the slots): the catalogue is the better guess then.
FURTHEST = 5.0

# What is remembered: the longer of about as many messages and seconds. A quick filter needs the
# seconds (S must be short against them), a slow one the messages.
MESSAGES, SECONDS = 500.0, 300.0


class ServiceTime:
    """Learns the service time of one filter in constant memory; until it has, it is the catalogue's.

    Seconds are of the caller's clock; with compressed time pass `remember_s` in the same.
    Raises ValueError when catalogue_s or remember_s is not above 0.
    """

    __slots__ = ("_acked", "_at", "_busy_s", "_read_busy_s", "catalogue_s", "remember_s")

    def __init__(self, catalogue_s: float, *, remember_s: float = SECONDS) -> None:
        if not (catalogue_s > 0 and remember_s > 0):
            raise ValueError(f"{catalogue_s=}, {remember_s=}: want > 0")
        self.catalogue_s = catalogue_s
        self.remember_s = remember_s
        self._acked = self._busy_s = 0.0
        self._at = self._read_busy_s = inf

    @property
    def seconds(self) -> float:
        """The learnt service time, within a factor of five of the catalogue's."""
        return learnt_service_s(self.catalogue_s, self._busy_s, self._acked)

    @property
    def known(self) -> float:
        """How far it is learnt, from 0 to below 1: the weight of what was counted against the catalogue's.

        0 for counters that are not believed.
        """
        learnt = _weighed(self.catalogue_s, self._busy_s, self._acked)
        return self._acked / (self._acked + PRIOR) if _believed(self.catalogue_s, learnt) else 0.0

    def append(self, at: float, acked: float | None, busy_s: float) -> None:
        """Take one read of the counters.

        acked: messages acknowledged since the read before, None when it cannot be told (a counter
        began anew). busy_s: running integral of unacked messages, `History.busy_s`. A read that
        is not newer, or whose integral shrank, only begins anew.
        """
        passed, busy = at - self._at, busy_s - self._read_busy_s
        if acked is not None and isfinite(acked + busy) and acked >= 0 and passed > 0 and busy >= 0:
            kept = exp(-min(acked / MESSAGES, passed / self.remember_s))
            self._acked = kept * self._acked + acked
            self._busy_s = kept * self._busy_s + busy
        self._at, self._read_busy_s = at, busy_s


def acked_since(before: Mapping[Any, float] | None, now: Mapping[Any, float]) -> float | None:
    """Return the messages acknowledged between two reads of one queue's counters; None when unknown.

    before, now: counter by channel, or by anything constant where the broker counts per queue. A
    channel that is new began at 0; one that closed takes along what it did since the last read.
    """
    if before is None or any(now[each] < count for each, count in before.items() if each in now):
        return None
    if before and not before.keys() & now.keys():
        return None
    return sum(count - before.get(each, 0.0) for each, count in now.items())


def learnt_service_s(catalogue_s: float, busy_s: float, completions: float) -> float:
    """Return mean seconds of service.

    busy_s: integral of unacked messages over a window; completions: messages acknowledged in it.
    Raises ValueError when catalogue_s is not above 0 or a number is negative or not finite.
    """
    if not (catalogue_s > 0 and busy_s >= 0 and completions >= 0 and isfinite(busy_s + completions)):
        raise ValueError(f"{catalogue_s=}, {busy_s=}, {completions=}: want > 0, >= 0, >= 0, finite")
    learnt = _weighed(catalogue_s, busy_s, completions)
    return learnt if _believed(catalogue_s, learnt) else catalogue_s


def _weighed(catalogue_s: float, busy_s: float, completions: float) -> float:
    return (busy_s + PRIOR * catalogue_s) / (completions + PRIOR)


def _believed(catalogue_s: float, learnt_s: float) -> bool:
    return catalogue_s / FURTHEST <= learnt_s <= catalogue_s * FURTHEST
