"""Who may be taken away, for whom: a drain or an upgrade that can wait, a filter that cannot."""

from typing import Literal, NamedTuple

__all__ = ["MAX_UNAVAILABLE", "PRIORITIES", "Precedence"]

# Of all Ready workers of the class; Kubernetes rounds a share up, so one worker may always go.
MAX_UNAVAILABLE: dict[str, str] = {
    # The headroom that square-root staffing buys at a hundred busy workers: more would show as waiting.
    "interactive": "10%",
    "pooled": "10%",
    # Few workers, awake because somebody waits; a quarter keeps the others at work.
    "scale-to-zero": "25%",
    # Nobody waits: what is in hand is finished first, and a drain should be over soon.
    "batch": "50%",
}


class Precedence(NamedTuple):
    """value: above the 0 of pods that say nothing. preempts: it may evict workers of lower ones."""

    value: int
    preempts: Literal["PreemptLowerPriority", "Never"]


# A worker that is evicted costs its successor a warm-up, and the newcomer waits for its longest job:
# only `high` is worth that. The others are merely placed first.
PRIORITIES: dict[str, Precedence] = {
    "high": Precedence(3_000, "PreemptLowerPriority"),
    "normal": Precedence(2_000, "Never"),
    "low": Precedence(1_000, "Never"),
}
