"""The last minutes of one filter's counts, kept so that any window over them costs the same.

Conservation: what arrives in a window leaves the system (mean(U)/S per second) or makes it grow
(Δ(U+B)). So the load that the arrivals offer, in busy slots, is

    x_w = mean_w(U) + S·Δ_w(U+B)/w

and it needs two numbers at each end of a window: the integral of U and the level U+B.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import inf, isfinite
from typing import NamedTuple

from surge.policy.signal import tidy

__all__ = ["RETURN_SHARE", "History", "Sample", "Window"]

# Completions are at most U/S a second on average. Five times that and ten messages on top is
# beyond any spread of service times or a service time in the catalogue that is 2x wrong.
PURGE_FACTOR, PURGE_SLACK = 5.0, 10.0

# Samples go a block at a time: shifting three arrays at each append would cost more than the fold.
BLOCK = 16

# Messages that vanish and come back within this share of the horizon were never gone.
RETURN_SHARE = 0.2


class Sample(NamedTuple):
    """Counts of one filter at `at` seconds (any monotonic clock)."""

    at: float
    unacked: float
    ready: float
    consumers: float = 0.0


class Window(NamedTuple):
    """What happened in the last `span_s` seconds: mean of U, growth of U+B."""

    span_s: float
    mean_unacked: float
    growth: float

    def load(self, service_s: float, shortest_s: float) -> float:
        """Return the offered load x_w in busy slots, >= 0.

        A span below `shortest_s` counts as `shortest_s` for the growth: two messages that came
        between two samples must not read as an arrival rate.
        """
        return max(0.0, self.mean_unacked + service_s * self.growth / max(self.span_s, shortest_s))


class History:
    """Ring of samples over `horizon_s` seconds; appending and reading a window take no loop.

    A drop of U+B that workers cannot have caused (a purge, a policy that dropped messages) is
    taken out of the level, else the window would read it as negative arrivals and scale in.
    """

    __slots__ = (
        "_at",
        "_busy",
        "_first_busy",
        "_integral",
        "_integrals",
        "_level",
        "_levels",
        "_lost",
        "_missed",
        "_missed_at",
        "_times",
        "horizon_s",
        "service_s",
    )

    def __init__(self, horizon_s: float, service_s: float, samples: Iterable[Sample] = ()) -> None:
        self.horizon_s = horizon_s
        self.service_s = service_s
        self._times = array("d")
        self._integrals = array("d")
        self._levels = array("d")
        # The newest sample again, as an append needs it: half the time of reading it out of the arrays.
        self._at, self._busy, self._integral, self._level = -inf, 0.0, 0.0, 0.0
        # Of U itself that is enough, and the first for a window that has no other sample.
        self._first_busy = 0.0
        self._lost = 0.0
        self._missed, self._missed_at = 0.0, -inf
        for sample in samples:
            self.append(sample.at, sample.unacked, sample.ready)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def span_s(self) -> float:
        return self._at - self._times[0] if self._times else 0.0

    @property
    def busy_s(self) -> float:
        """Running integral of the unacked messages since the first sample, in message seconds."""
        return self._integral

    @property
    def level(self) -> float:
        """U+B of the newest sample, in messages."""
        return self._level - self._lost

    def append(self, at: float, unacked: float, ready: float) -> None:
        """Add counts; a sample not newer than the last is ignored.

        Raises ValueError when a number is not finite.
        """
        busy = unacked if 0 <= unacked < inf else tidy(unacked)
        level = busy + (ready if 0 <= ready < inf else tidy(ready))
        if not isfinite(at):
            raise ValueError(f"time {at}: want a finite number")
        times = self._times
        if times:
            passed = at - self._at
            if passed <= 0:
                return
            growth = level + self._lost - self._level
            if not -PURGE_SLACK <= growth <= PURGE_SLACK:
                self._account_for_a_jump(at, growth, most_busy=max(busy, self._busy), passed=passed)
            self._integral += (busy + self._busy) / 2 * passed
        else:
            self._first_busy = busy
        self._at, self._busy, self._level = at, busy, level + self._lost
        times.append(at)
        self._integrals.append(self._integral)
        self._levels.append(self._level)
        if len(times) > BLOCK and times[BLOCK - 1] < at - self.horizon_s:
            self._forget(at - self.horizon_s)

    def window(self, length_s: float, until: float = inf) -> Window:
        """Return the window from the last sample at least `length_s` old (or the first) to the newest.

        until: the newest sample that counts; what was appended later is as if it were not there.
        """
        times = self._times
        last = len(times) - 1 if until == inf else bisect_right(times, until) - 1
        if last < 0:
            return Window(0.0, 0.0, 0.0)
        # A hundredth: samples come a little early or late.
        start = max(0, bisect_right(times, times[last] - length_s * 0.99) - 1)
        span = times[last] - times[start]
        if span <= 0:
            return Window(0.0, self._first_busy, 0.0)
        mean = (self._integrals[last] - self._integrals[start]) / span
        return Window(span, mean, self._levels[last] - self._levels[start])

    def windows(self, lengths_s: Sequence[float], until: float = inf) -> list[Window]:
        return [self.window(length, until) for length in lengths_s]

    def _account_for_a_jump(self, at: float, growth: float, *, most_busy: float, passed: float) -> None:
        explained = PURGE_FACTOR * most_busy * passed / self.service_s + PURGE_SLACK + most_busy
        if growth < -explained:
            self._lost -= growth
            self._missed, self._missed_at = -growth, at
        elif growth > explained and at - self._missed_at <= self.horizon_s * RETURN_SHARE:
            # A broker that has just started shows its queues empty for a moment: they come back.
            back = min(growth, self._missed)
            self._lost -= back
            self._missed -= back

    def _forget(self, before: float) -> None:
        # Two samples older than the horizon stay, so that the longest window is whole, even when it
        # is asked for a sample later (`until`).
        times = self._times
        gone = bisect_right(times, before) - 2
        del times[:gone], self._integrals[:gone], self._levels[:gone]
