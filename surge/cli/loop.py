"""Waiting until the loop is closed: from the broker over the metric to workers and back."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from surge.cli.state import Snapshot, open_ends

__all__ = ["Closing", "summary", "wait_closed"]

# The slowest link: a minute of warm-up (model seconds), then an HPA sync, then KEDA's own read.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Closing:
    """ends: what is still open, empty when the loop is closed. took_s: wall seconds."""

    snapshot: Snapshot
    ends: Sequence[str]
    took_s: float

    @property
    def closed(self) -> bool:
        return not self.ends


def wait_closed(
    read: Callable[[], Snapshot],
    tell: Callable[[str], None],
    *,
    patience_s: float = PATIENCE_S,
    interrupted: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Closing:
    """Read once a second until the loop is closed, `patience_s` are over, or somebody interrupts.

    tell: gets one short line whenever what is open has changed.
    """
    began, said = clock(), ""
    while True:
        snapshot = read()
        ends = open_ends(snapshot)
        took = clock() - began
        if not ends or took >= patience_s or interrupted():
            return Closing(snapshot, ends, took)
        if (text := summary(ends)) != said:
            tell(text)
            said = text
        sleep(1.0)


def summary(ends: Sequence[str]) -> str:
    """Return `4 filters wait for workers, 1 process not running` for what is open."""
    kinds = Counter(_kind(end) for end in ends)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _kind(end: str) -> str:
    if end.endswith("workers Ready"):
        return "wait for workers"
    if ": no saturation" in end:
        return "wait for their saturation"
    if ": HPA without" in end:
        return "wait for their HPA's first metric"
    if end.startswith("process "):
        return "processes not running"
    return "readings missing"
