"""How busy a filter's workers are, as one number between 0 and 1.

U unacked messages, C consumers, B ready messages, `slots` messages a worker works on at a time:

    active ratio     = min(U, C·slots) / (C·slots)
    active ratio raw = U / C

The clamp matters while workers drain: a classic queue stops counting a cancelled consumer but
still counts the message it works on, so 20 workers of which 8 drain show U = 20, C = 12, and a
scale-in would look like a reason to scale out. (A quorum queue counts the consumer until it settles.)
"""

from math import isfinite

__all__ = ["active_ratio", "active_ratio_raw", "tidy"]


def active_ratio(unacked: float, consumers: float, ready: float, slots: int = 1) -> float:
    """Return the busy share of all slots, in [0, 1], to three decimals.

    Without consumers there is nothing to be busy: 1.0 when a message waits (or is still held),
    so that a filter at zero wakes, else 0.0. Negative counts are read as 0.

    Raises ValueError when `slots` is below 1 or a count is not finite.
    """
    if slots < 1:
        raise ValueError(f"{slots=}: want at least 1")
    busy, workers, waiting = tidy(unacked), tidy(consumers), tidy(ready)
    if workers == 0:
        return 1.0 if busy > 0 or waiting > 0 else 0.0
    return round(min(busy, workers * slots) / (workers * slots), 3)


def active_ratio_raw(unacked: float, consumers: float, ready: float) -> float:
    """Return unacked messages per consumer, unclamped, >= 0, to three decimals.

    Above the prefetch it shows draining consumers; without consumers it is `active_ratio`.
    Raises ValueError when a count is not finite.
    """
    busy, workers = tidy(unacked), tidy(consumers)
    if workers == 0:
        return active_ratio(unacked, consumers, ready)
    return round(busy / workers, 3)


def tidy(count: float) -> float:
    """Return a count from the broker as a number >= 0. Raises ValueError when it is not finite."""
    if not isfinite(count):
        raise ValueError(f"count {count}: want a finite number")
    return float(count) if count > 0 else 0.0
