"""How many workers a filter needs now, from a few minutes of counts.

1. Offered load x by conservation over three windows (surge/policy/history.py). The longest is the
   calmest; a shorter one is believed when it differs by more than chance explains. With Poisson
   arrivals and log-normal service, the variance of x_w is about 1.5·x·S/w.
2. Workers: max(x + β·√x, x + B·S/D) / slots. The first is square-root staffing (Halfin & Whitt
   1981); its headroom also works off a backlog, so the two are not added.

A server that has just started knows less than the longest window: `Demand.settled` is False then
and the desired workers are at least the consumers there are, so that nobody scales in on a guess.
"""

from collections.abc import Iterable, Sequence
from math import erf, exp, pi, sqrt
from typing import NamedTuple

from surge.policy.history import History, Sample, Window

__all__ = [
    "BETA",
    "WINDOWS_S",
    "Demand",
    "demand",
    "desired_workers",
    "offered_load",
    "staffed",
    "wait_probability",
]

# Model seconds; a stack with compressed time divides them like everything else.
WINDOWS_S = (15.0, 60.0, 300.0)

# Halfin & Whitt: P(wait) = 20 % at β = 1.06 and 50 % at 0.506. Somebody waits for the first two
# classes; for a batch filter half of the requests may wait, its queue is its normal state.
BETA = {"interactive": 1.06, "scale-to-zero": 1.06, "batch": 0.506}

VARIANCE = 1.5
MIDDLE_SIGMAS, SHORT_SIGMAS = 2.0, 2.5

# Differences of running sums leave dust where a filter is idle, and √dust is no longer dust.
DUST = 1e-6


class Demand(NamedTuple):
    """desired_workers, offered_load (busy slots): three decimals, never negative. window_s: the
    longest window behind them. settled: that window is whole, so scaling in on it is safe."""

    desired_workers: float
    offered_load: float
    window_s: float
    settled: bool


def desired_workers(
    samples: Iterable[Sample],
    *,
    service_s: float,
    slots: int = 1,
    drain_s: float = 60.0,
    beta: float = BETA["interactive"],
    windows_s: Sequence[float] = WINDOWS_S,
) -> Demand:
    """Return what a filter needs after `samples` (oldest first). Raises ValueError on bad quantities."""
    seen = list(samples)
    history = History(windows_s[-1], service_s, seen)
    last = seen[-1] if seen else Sample(0.0, 0.0, 0.0)
    return demand(
        history.windows(windows_s),
        last,
        service_s=service_s,
        slots=slots,
        drain_s=drain_s,
        beta=beta,
        windows_s=windows_s,
    )


def demand(
    windows: Sequence[Window],
    last: Sample,
    *,
    service_s: float,
    slots: int,
    drain_s: float,
    beta: float,
    windows_s: Sequence[float],
) -> Demand:
    """Return what a filter needs, given its three windows (short, middle, long) and the last counts."""
    if service_s <= 0 or slots < 1 or drain_s <= 0 or beta < 0:
        raise ValueError(f"{service_s=}, {slots=}, {drain_s=}, {beta=}: want > 0, >= 1, > 0, >= 0")
    shortest = windows_s[0]
    short, middle, long = (window.load(service_s, shortest) for window in windows)
    load = offered_load(short, middle, long, service_s=service_s, short_s=shortest, middle_s=windows_s[1])
    ready, unacked = max(0.0, last.ready), max(0.0, last.unacked)
    workers = staffed(load, ready, service_s, drain_s, beta) / slots
    if ready > 0 or unacked > 0:
        workers = max(workers, 1.0)
    settled = windows[2].span_s >= 0.95 * windows_s[2]
    if not settled:
        workers = max(workers, last.consumers)
    return Demand(round(workers, 3), round(load, 3), round(min(windows[2].span_s, windows_s[2]), 3), settled)


def offered_load(
    short: float, middle: float, long: float, *, service_s: float, short_s: float, middle_s: float
) -> float:
    """Return the load in busy slots: the longest window's, unless a shorter one shows a change.

    One message more than seen enters the variance: with none or one in a window, √x alone would
    call the next single message a change.
    """
    load = long
    if abs(middle - load) > MIDDLE_SIGMAS * _deviation(load, service_s, middle_s):
        load = middle
    if short - load > SHORT_SIGMAS * _deviation(load, service_s, short_s):
        load = short
    return load if load > DUST else 0.0


def staffed(load: float, ready: float, service_s: float, drain_s: float, beta: float) -> float:
    """Return the slots that `load` and a backlog of `ready` messages need."""
    return load + max(beta * sqrt(load), ready * service_s / drain_s)


def wait_probability(beta: float) -> float:
    """Return the share of requests that wait at all, for β >= 0, in a large fleet (Halfin & Whitt 1981)."""
    density = exp(-beta * beta / 2) / sqrt(2 * pi)
    return 1 / (1 + beta * (1 + erf(beta / sqrt(2))) / 2 / density)


def _deviation(load: float, service_s: float, window_s: float) -> float:
    a_message = service_s / window_s
    return sqrt(VARIANCE * (load + a_message) * a_message)
