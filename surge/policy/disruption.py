"""How many workers of a class may be taken away at once by somebody who may wait: a drain, an upgrade."""

__all__ = ["MAX_UNAVAILABLE"]

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
