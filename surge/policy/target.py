"""How busy a filter's workers may be before it needs more of them.

A worker needs `lead_s` seconds (model load, scheduling, metric age) before it helps. Two things
use up headroom in that time: random arrivals and growth. With R = λ·S busy workers on average,
square-root staffing asks for N = R + β·√R workers, and growth at rate g for e^(g·lead) times as
many. The busiest we may run is therefore

    T = e^(-g·lead) / (1 + β/√R)

Source: Halfin & Whitt (1981) for β; the growth term is the same rule turned around. `erlang_c` is
the exact answer for exponential service, and the tests hold the rule against it.
"""

from math import exp, log, sqrt

from surge.policy.demand import BETA

__all__ = ["GROWTH_PER_S", "automatic_target", "erlang_c", "servers_for", "target_ratio"]

# HPA compares in thousandths and a worker is indivisible: below 0.35 a filter with one or two
# workers would never scale in, above 0.95 one slow request blocks a scale-out.
LOWEST, HIGHEST = 0.35, 0.95

# The case study's spike: seven times the load within an hour.
GROWTH_PER_S = log(7) / 3600


def target_ratio(
    busy: float, *, growth_per_s: float, lead_s: float, beta: float = BETA["interactive"]
) -> float:
    """Return the active ratio, in [0.35, 0.95], that a filter should be steered to.

    busy: mean number of busy workers (λ·S), > 0.
    growth_per_s: relative growth of arrivals, d ln λ / dt, >= 0.
    lead_s: seconds until an added worker consumes, >= 0.

    Raises ValueError when a quantity is outside its range.
    """
    if not (busy > 0 and growth_per_s >= 0 and lead_s >= 0 and beta >= 0):
        raise ValueError(f"{busy=}, {growth_per_s=}, {lead_s=}, {beta=}: want > 0, >= 0, >= 0, >= 0")
    target = exp(-growth_per_s * lead_s) / (1 + beta / sqrt(busy))
    return min(max(target, LOWEST), HIGHEST)


def automatic_target(least: int, most: int, *, slots: int, lead_s: float, beta: float) -> float:
    """Return the target of a filter of which only its size is known: `least` to `most` workers.

    It is the one of a fleet in the middle, of √(least·most) workers: one number cannot suit all sizes, and
    a smaller fleet keeps a little too few in hand, a larger one a little too many.
    """
    servers = slots * sqrt(max(1, least) * most)
    # N = R + β·√R, solved for √R.
    root = (sqrt(beta * beta + 4 * servers) - beta) / 2
    return target_ratio(root * root, growth_per_s=GROWTH_PER_S, lead_s=lead_s, beta=beta)


def erlang_c(servers: int, busy: float) -> float:
    """Return the share of requests that wait, of M/M/N with offered load `busy`; 1.0 when N <= load.

    Raises ValueError when `servers` is below 1 or `busy` below 0.
    """
    if servers < 1 or not busy >= 0:
        raise ValueError(f"{servers=}, {busy=}: want >= 1, >= 0")
    if servers <= busy:
        return 1.0
    # Erlang B by its recursion: no factorial overflows.
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = busy * blocked / (server + busy * blocked)
    return blocked / (1 - busy / servers * (1 - blocked))


def servers_for(busy: float, wait_share: float) -> int:
    """Return the fewest servers at which at most `wait_share` of the requests wait (Erlang C).

    Raises ValueError when a quantity is outside its range.
    """
    if not (busy >= 0 and 0 < wait_share < 1):
        raise ValueError(f"{busy=}, {wait_share=}: want >= 0, in (0, 1)")
    servers = max(1, int(busy) + 1)
    while erlang_c(servers, busy) > wait_share:
        servers += 1
    return servers
