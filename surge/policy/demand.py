"""How many workers a filter needs now, from a few minutes of counts.

1. Offered load x by conservation over four windows (surge/policy/history.py). The longest is the
   calmest; a shorter one is believed when it differs by more than chance explains. With Poisson
   arrivals and log-normal service, the variance of x_w is about 1.5·x·S/w.
2. Backlog B: the ready messages, or more when workers are missing. They help only after `lead_s`,
   L. Since they began to be missing the backlog grew at (x - C)/S a second, so the time since then
   shows in B itself, and when they come it will be (x - C)·L/S, whenever that was. Asked for at
   once, and not again every 15 s as the backlog grows.
3. Workers: x + max(β·√x, B·S/D), by slots. The first is square-root staffing (Halfin & Whitt 1981).
   With a service time from the catalogue alone the drain makes up for one that is too short. As far
   as it is known (surge/policy/service_time.py) the drain may take up to 2·D beside the full
   headroom, as long as nobody waits for more than D: half of the overshoot after a step.

A server that has just started knows less than the longest window: `Demand.settled` is False then
and the desired workers are at least the consumers there are, so that nobody scales in on a guess.
docs/adr/0005-scaling-law.md has what each part is worth.
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
WINDOWS_S = (5.0, 15.0, 60.0, 300.0)

# Halfin & Whitt: P(wait) = 20 % at β = 1.06 and 50 % at 0.506. Somebody waits for all
# but a batch filter: there half of the requests may wait, its queue is its normal state.
BETA = {"interactive": 1.06, "scale-to-zero": 1.06, "pooled": 1.06, "batch": 0.506}

VARIANCE = 1.5
# How many deviations more the next shorter window must show, from long to short: the shorter it is,
# the more often it gets a chance to be wrong. Fewer cost direction changes and make a service time
# that is 2x too long dearer, more make a step late (docs/adr/0005-scaling-law.md).
SIGMAS = (3.5, 4.0, 4.5)

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
    lead_s: float = 0.0,
    beta: float = BETA["interactive"],
    known: float = 0.0,
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
        lead_s=lead_s,
        beta=beta,
        known=known,
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
    lead_s: float = 0.0,
    known: float = 0.0,
) -> Demand:
    """Return what a filter needs, given its windows (short to long) and the last counts.

    lead_s: from asking for a worker to its first message; 0 leaves the backlog to come out.
    known: how far service_s was learnt, from 0 (the catalogue's) to 1, `ServiceTime.known`.
    Raises ValueError on bad quantities.
    """
    if service_s <= 0 or slots < 1 or drain_s <= 0 or beta < 0 or lead_s < 0 or not 0 <= known <= 1:
        raise ValueError(
            f"{service_s=}, {slots=}, {drain_s=}, {beta=}, {lead_s=}, {known=}: "
            "want > 0, >= 1, > 0, >= 0, >= 0, 0 to 1"
        )
    # Only the very shortest window may take a few seconds for a rate: a young history has no other.
    loads = [
        window.load(service_s, min(length, windows_s[1]))
        for window, length in zip(windows, windows_s, strict=True)
    ]
    load = offered_load(loads, windows_s, service_s)
    ready, unacked = max(0.0, last.ready), max(0.0, last.unacked)
    # Consumers that a restarting broker has lost were busy a moment ago and will be back.
    capacity = max(last.consumers * slots, windows[-2].mean_unacked)
    backlog = max(ready, (load - capacity) * lead_s / service_s)
    workers = staffed(load, backlog, service_s, drain_s, beta, known=known) / slots
    if ready > 0 or unacked > 0:
        workers = max(workers, 1.0)
    longest = windows[-1].span_s
    settled = longest >= 0.95 * windows_s[-1]
    if not settled:
        workers = max(workers, last.consumers)
    return Demand(round(workers, 3), round(load, 3), round(min(longest, windows_s[-1]), 3), settled)


def offered_load(loads: Sequence[float], windows_s: Sequence[float], service_s: float) -> float:
    """Return the load in busy slots: the longest window's, unless a shorter one shows a change.

    loads: x_w of each window, short to long. Only the longest but one may lower it: a lull of a few
    seconds is no reason to send workers away.

    One message more than seen enters the variance: with none or one in a window, √x alone would
    call the next single message a change.
    """
    load = loads[-1]
    if load - loads[-2] > SIGMAS[0] * _deviation(load, service_s, windows_s[-2]):
        load = loads[-2]
    shorter = zip(reversed(loads[:-1]), reversed(windows_s[:-1]), SIGMAS, strict=False)
    for seen, window_s, sigmas in shorter:
        if seen - load > sigmas * _deviation(load, service_s, window_s):
            load = seen
    return load if load > DUST else 0.0


def staffed(
    load: float, ready: float, service_s: float, drain_s: float, beta: float, *, known: float = 0.0
) -> float:
    """Return the slots that `load` and a backlog of `ready` messages need.

    A message at the end of the backlog waits ready·S/slots: never more than drain_s.
    """
    headroom, at_once = beta * sqrt(load), ready * service_s / drain_s
    return max(load + max(headroom, known * headroom + at_once / (1 + known)), at_once)


def wait_probability(beta: float) -> float:
    """Return the share of requests that wait at all, for β >= 0, in a large fleet (Halfin & Whitt 1981)."""
    density = exp(-beta * beta / 2) / sqrt(2 * pi)
    return 1 / (1 + beta * (1 + erf(beta / sqrt(2))) / 2 / density)


def _deviation(load: float, service_s: float, window_s: float) -> float:
    a_message = service_s / window_s
    return sqrt(VARIANCE * (load + a_message) * a_message)
