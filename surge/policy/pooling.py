"""Several filters on one set of workers: their loads add up, and are staffed for once.

x = Σ x_i, so the headroom is β·√(Σ x_i) and not Σ β·√x_i: a hundred filters with a tenth of a busy
worker each need ⌈10 + 1.06·√10⌉ = 14 workers together, and 100·⌈0.1 + 1.06·√0.1⌉ = 100 apart.

A mix is told as one filter of one service time S, the mean over busy slots, Σ x_i·S_i / Σ x_i: with
it the spread of x over a window is what it is for one filter, √(1.5·x·S/w). What waits and what
came is counted in messages of S then, so that the work behind them stays what it is.
"""

from collections.abc import Sequence
from typing import NamedTuple

from surge.policy.history import Window

__all__ = ["Part", "Pooled", "pooled"]


class Part(NamedTuple):
    """One filter of a set. windows: short to long. known: how far service_s is. ready: messages that wait."""

    windows: Sequence[Window]
    service_s: float
    known: float
    ready: float


class Pooled(NamedTuple):
    """The set as one filter, as `surge.policy.demand.demand` takes it. ready: in messages of service_s."""

    windows: list[Window]
    service_s: float
    known: float
    ready: float


def pooled(parts: Sequence[Part], windows_s: Sequence[float]) -> Pooled:
    """Return the mix of `parts`. windows_s: the lengths of their windows.

    A window is as long as the shortest of the members' histories: with a new member the set is not
    settled. Raises ValueError without parts.
    """
    if not parts:
        raise ValueError("a set without members: want at least one")
    busy = [part.windows[-1].mean_unacked for part in parts]
    weights = busy if sum(busy) > 0 else [1.0] * len(parts)
    total = sum(weights)
    service_s = sum(weight * part.service_s for weight, part in zip(weights, parts, strict=True)) / total
    known = sum(weight * part.known for weight, part in zip(weights, parts, strict=True)) / total
    return Pooled(
        windows=[
            _window(parts, at, service_s, min(length, windows_s[1])) for at, length in enumerate(windows_s)
        ],
        service_s=service_s,
        known=known,
        ready=sum(part.ready * part.service_s for part in parts) / service_s,
    )


def _window(parts: Sequence[Part], at: int, service_s: float, shortest_s: float) -> Window:
    """The window whose `load` is the sum of the members'. shortest_s: as `Window.load` takes it."""
    span_s = min(part.windows[at].span_s for part in parts)
    arriving = sum(
        part.service_s * part.windows[at].growth / max(part.windows[at].span_s, shortest_s) for part in parts
    )
    return Window(
        span_s=span_s,
        mean_unacked=sum(part.windows[at].mean_unacked for part in parts),
        growth=arriving * max(span_s, shortest_s) / service_s,
    )
