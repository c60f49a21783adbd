"""The last minutes of many filters' counts, kept so that any window over them costs the same.

Conservation: what arrives in a window leaves the system (mean(U)/S per second) or makes it grow
(Δ(U+B)). So the load that the arrivals offer, in busy slots, is

    x_w = mean_w(U) + S·Δ_w(U+B)/w

and it needs two numbers at each end of a window: the integral of U and the level U+B.
"""

from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import compress, repeat
from math import inf, isfinite
from operator import add, attrgetter, mul, sub
from typing import NamedTuple

from surge.policy.signal import tidy

__all__ = ["RETURN_SHARE", "Histories", "History", "Sample", "Window"]

# Completions are at most U/S a second on average. Five times that and ten messages on top is
# beyond any spread of service times or a service time in the catalogue that is 2x wrong.
PURGE_FACTOR, PURGE_SLACK = 5.0, 10.0

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


class _Round(NamedTuple):
    """The newest sample of every filter at one time, a column each; where there is none, `at` is -inf.

    newest: the newest `at`. integrals: of U since the first sample. levels: U+B, as if nothing was ever lost.
    """

    newest: float
    at: "array[float]"
    busy: "array[float]"
    integrals: "array[float]"
    levels: "array[float]"


_newest = attrgetter("newest")


class Histories:
    """The samples of many filters over `horizon_s` seconds.

    Arithmetic is done on whole columns, with a few calls for all filters instead of a few for each. A filter
    that was not among those sampled keeps its numbers in the next round, which no window notices.

    A drop of U+B that workers cannot have caused (a purge, a policy that dropped messages) is
    taken out of the level, else the window would read it as negative arrivals and scale in.

    Windows may be asked for in any thread: rounds are replaced and never changed. Those of a filter that was
    not sampled for long lack what has been forgotten meanwhile.
    """

    def __init__(self, horizon_s: float, service_s: Mapping[str, float]) -> None:
        """service_s: by filter, in the order of their slots."""
        self.horizon_s = horizon_s
        self.slots = {name: slot for slot, name in enumerate(service_s)}
        self._service_s = array("d", service_s.values())
        never, zero = (array("d", [each]) * len(self.slots) for each in (-inf, 0.0))
        self._rounds: list[_Round] = []
        self._first = _Round(-inf, never, zero, zero, zero)
        # Slots sampled since the last round began.
        self._sampled: set[int] = set()
        self._lost, self._missed, self._missed_at = zero[:], zero[:], never[:]

    def __len__(self) -> int:
        """Return the number of rounds."""
        return len(self._rounds)

    @property
    def _last(self) -> _Round:
        return self._rounds[-1] if self._rounds else self._first

    def following(self, service_s: Mapping[str, float], kept: Collection[str]) -> "Histories":
        """Return histories of these filters. Those in `kept` go on with their samples, others begin."""
        other = Histories(self.horizon_s, service_s)
        sources = [self.slots.get(name, -1) if name in kept else -1 for name in service_s]

        def moved(column: "array[float]", empty: float = 0.0) -> "array[float]":
            with_empty = column + array("d", [empty])  # at -1
            return array("d", map(with_empty.__getitem__, sources))

        other._rounds = [
            _Round(each.newest, moved(each.at, -inf), *map(moved, (each.busy, each.integrals, each.levels)))
            for each in self._rounds
        ]
        other._sampled = {slot for slot, source in enumerate(sources) if source in self._sampled}
        other._lost, other._missed = moved(self._lost), moved(self._missed)
        other._missed_at = moved(self._missed_at, -inf)
        return other

    def append(
        self, at: float, slots: Sequence[int], unacked: Sequence[float], ready: Sequence[float]
    ) -> None:
        """Add counts of the filters at `slots` (ascending); a filter with a sample as new is left out.

        Raises ValueError when a number is not finite.
        """
        if not isfinite(at + sum(unacked) + sum(ready)):
            raise ValueError(f"samples at {at}: want a finite time and finite counts")
        last = self._last
        if last.newest >= at:
            older = [last.at[slot] < at for slot in slots]
            unacked, ready = ([*compress(each, older)] for each in (unacked, ready))
            slots = [*compress(slots, older)]
        if not slots:
            return
        unacked, ready = _tidy(unacked), _tidy(ready)
        times, busy = _with(last.at, slots, [at] * len(slots)), _with(last.busy, slots, unacked)
        lost = map(self._lost.__getitem__, slots)
        levels = _with(last.levels, slots, map(add, map(add, unacked, ready), lost))
        passed = [*map(sub, times, last.at)]
        if -inf in last.at:
            passed = [each if each < inf else 0.0 for each in passed]
        growth = [*map(sub, levels, last.levels)]
        if min(growth) < -PURGE_SLACK or max(growth) > PURGE_SLACK:
            most_busy = [*map(max, busy, last.busy)]
            for slot, grown in enumerate(growth):
                if abs(grown) > PURGE_SLACK:
                    levels[slot] += self._account_for_a_jump(slot, at, grown, most_busy[slot], passed[slot])
        areas = map(mul, map(add, busy, last.busy), map(mul, passed, repeat(0.5)))
        integrals = array("d", map(add, last.integrals, areas))
        self._keep(_Round(max(last.newest, at), times, busy, integrals, levels), set(slots))

    def windows(self, name: str, lengths_s: Sequence[float], until: float = inf) -> list[Window]:
        """Return a window for each length, from the last sample at least as old (or the first) to the newest.

        until: the newest sample that counts; what was appended later is as if it were not there.
        Raises KeyError for a filter that is not followed.
        """
        rounds, slot = self._rounds, self.slots[name]

        def at(each: _Round) -> float:
            return each.at[slot]

        first = bisect_right(rounds, -inf, key=at)
        last = (len(rounds) if until == inf else bisect_right(rounds, until, key=at)) - 1
        if last < first:
            return [Window(0.0, 0.0, 0.0)] * len(lengths_s)
        end = rounds[last]
        # A hundredth: samples come a little early or late.
        oldest = [end.at[slot] - length_s * 0.99 for length_s in lengths_s]
        starts = [bisect_right(rounds, each, first, last, key=at) - 1 for each in oldest]
        return [_window(slot, rounds[max(first, start)], end) for start in starts]

    def busy_s(self) -> dict[str, float]:
        """Return the running integral of the unacked messages since the first sample, in message seconds.

        By filter, of those that have a sample.
        """
        last = self._last
        return {name: last.integrals[slot] for name, slot in self.slots.items() if last.at[slot] > -inf}

    def level(self, name: str) -> float:
        """Return U+B of the newest sample, in messages; 0 when there is none."""
        slot = self.slots[name]
        return self._last.levels[slot] - self._lost[slot]

    def _keep(self, latest: _Round, sampled: set[int]) -> None:
        """Nodes that are read one after the other share a round: it ends when a filter comes again."""
        if self._rounds and self._sampled.isdisjoint(sampled):
            self._sampled |= sampled
            self._rounds = [*self._rounds[:-1], latest]
            return
        self._sampled = sampled
        # Two rounds older than the horizon stay, so that the longest window is whole, even when it
        # is asked for a sample later (`until`).
        gone = bisect_right(self._rounds, latest.newest - self.horizon_s, key=_newest) - 2
        self._rounds = [*self._rounds[max(0, gone) :], latest]

    def _account_for_a_jump(
        self, slot: int, at: float, growth: float, most_busy: float, passed: float
    ) -> float:
        """Return what to add to the level of this sample."""
        explained = PURGE_FACTOR * most_busy * passed / self._service_s[slot] + PURGE_SLACK + most_busy
        change = 0.0
        if growth < -explained:
            change, self._missed[slot], self._missed_at[slot] = -growth, -growth, at
        elif growth > explained and at - self._missed_at[slot] <= self.horizon_s * RETURN_SHARE:
            # A broker that has just started shows its queues empty for a moment: they come back.
            change = -min(growth, self._missed[slot])
            self._missed[slot] += change
        self._lost[slot] += change
        return change


class History:
    """The samples of one filter, as `Histories` keeps them."""

    def __init__(self, horizon_s: float, service_s: float, samples: Iterable[Sample] = ()) -> None:
        self._only = Histories(horizon_s, {"": service_s})
        for sample in samples:
            self.append(sample.at, sample.unacked, sample.ready)

    def __len__(self) -> int:
        return len(self._only)

    @property
    def busy_s(self) -> float:
        """Running integral of the unacked messages since the first sample, in message seconds."""
        return self._only.busy_s().get("", 0.0)

    def append(self, at: float, unacked: float, ready: float) -> None:
        """Add counts; a sample not newer than the last is ignored.

        Raises ValueError when a number is not finite.
        """
        self._only.append(at, [0], [unacked], [ready])

    def window(self, length_s: float, until: float = inf) -> Window:
        return self.windows([length_s], until)[0]

    def windows(self, lengths_s: Sequence[float], until: float = inf) -> list[Window]:
        """Return the windows of these lengths, as `Histories.windows` does."""
        return self._only.windows("", lengths_s, until)


def _window(slot: int, start: _Round, end: _Round) -> Window:
    span_s, growth = end.at[slot] - start.at[slot], end.levels[slot] - start.levels[slot]
    if span_s == 0:
        return Window(0.0, start.busy[slot], 0.0)
    return Window(span_s, (end.integrals[slot] - start.integrals[slot]) / span_s, growth)


def _tidy(counts: Sequence[float]) -> Sequence[float]:
    return counts if min(counts) >= 0 else [*map(tidy, counts)]


def _with(column: "array[float]", slots: Sequence[int], values: Iterable[float]) -> "array[float]":
    """Return `column` with `values` at `slots`, a new one."""
    if len(slots) == len(column):
        return array("d", values)
    changed = column[:]
    for slot, value in zip(slots, values, strict=True):
        changed[slot] = value
    return changed
