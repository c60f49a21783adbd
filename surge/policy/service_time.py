"""Mean service time by Little's law, for brokers that count acknowledgements per queue.

S = busy seconds / completions. Unacked and ready messages alone do not give it: they fix the
product of arrivals and S, never one of the two.
"""

from math import isfinite

__all__ = ["learnt_service_s"]

# The catalogue counts as this many completions: a handful of long requests does not overrule it.
PRIOR = 20.0

# Further off than this, the counters are not what they are taken for (a consumer that acks early,
# a prefetch above the slots): the catalogue is the better guess then.
FURTHEST = 8.0


def learnt_service_s(catalogue_s: float, busy_s: float, completions: float) -> float:
    """Return mean seconds of service.

    busy_s: integral of unacked messages over a window; completions: messages acknowledged in it.
    Raises ValueError when catalogue_s is not above 0 or a number is negative or not finite.
    """
    if not (catalogue_s > 0 and busy_s >= 0 and completions >= 0 and isfinite(busy_s + completions)):
        raise ValueError(f"{catalogue_s=}, {busy_s=}, {completions=}: want > 0, >= 0, >= 0, finite")
    learnt = (busy_s + PRIOR * catalogue_s) / (completions + PRIOR)
    return learnt if catalogue_s / FURTHEST <= learnt <= catalogue_s * FURTHEST else catalogue_s
