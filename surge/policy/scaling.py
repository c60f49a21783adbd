"""What KEDA and the HPA are told about one filter.

Seconds are wall seconds, whole, as Kubernetes takes no fractions. Sources: KEDA's metrics-api
scaler, the HPA's `behavior`, and docs/adr/0004-signals.md.
"""

from typing import Any, NamedTuple

from surge.policy.timescale import TimeScale

__all__ = [
    "Reading",
    "demand_behavior",
    "demand_triggers",
    "fallback",
    "hpa_tolerance",
    "job_triggers",
    "ratio_behavior",
    "ratio_triggers",
    "to_zero",
]

PERIOD_S = 15
RATIO_DOWN_WINDOW_S = 300
DEMAND_DOWN_WINDOW_S = 180

# In HPAs since Kubernetes 1.35 without a feature gate. An older API server drops the field, and KEDA
# would write it again and again.
TOLERANCE_SINCE = (1, 35)
USUAL_TOLERANCE = 0.1

# A worker that went must warm up for a minute to come back: KEDA's jump to zero ignores the
# HPA's windows, so it must come after their tail.
COOLDOWN_S = 600

# KEDA looks at a filter at rest ten times within what its requests may wait, but no oftener and no less
# often than this; 30 is its own default. A look costs its API server a read of the scale.
POLLS_PER_SLO = 10
SHORTEST_POLL_S, LONGEST_POLL_S = 5, 30


class Reading(NamedTuple):
    """Where KEDA reads a filter's numbers. modes: what of the ClusterTriggerAuthentication it shows."""

    url: str
    authentication: str
    modes: str = "bearer"


def demand_triggers(reading: Reading) -> list[dict[str, Any]]:
    """One trigger: as many pods as `desired_workers` says, since AverageValue over 1 is that number."""
    return [_trigger(reading, "desired_workers", "AverageValue", "1")]


def job_triggers(reading: Reading) -> list[dict[str, Any]]:
    """The same for Jobs, one for each worker. KEDA refuses a metricType there, as no HPA reads it."""
    [trigger] = demand_triggers(reading)
    del trigger["metricType"]
    return [trigger]


def ratio_triggers(
    reading: Reading, *, target: float, service_s: float, slots: int, drain_s: float
) -> list[dict[str, Any]]:
    """The case study's trigger, and a backlog trigger that wakes a fleet of none.

    metricType must be Value: KEDA's default, AverageValue, divides by the replicas, and a ratio of
    at most 1 could never ask for more than two pods. The backlog's target is what one worker clears
    in drain_s.
    """
    cleared = slots * drain_s / service_s
    return [
        _trigger(reading, "active_ratio", "Value", f"{target:.3f}"),
        _trigger(reading, "ready", "AverageValue", f"{cleared:.3f}"),
    ]


def demand_behavior(scale: TimeScale) -> dict[str, Any]:
    """Up at once, as demand does not compound while workers warm up; down a tenth at a time."""
    period = scale.whole(PERIOD_S)
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [_policy("Percent", 900, period), _policy("Pods", 10, period)],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": scale.whole(DEMAND_DOWN_WINDOW_S),
            "selectPolicy": "Max",
            "policies": [_policy("Percent", 10, period), _policy("Pods", 1, period)],
        },
    }


def hpa_tolerance(target: float, version: tuple[int, int]) -> str | None:
    """How far above `target` a ratio may be before the HPA acts; None for the HPA's own tenth.

    A ratio ends at 1, so from a target of 0.91 on a tenth above it is never reached: then it is half
    the way. version: of the API server, which may not have the field.
    """
    room = (1 / target - 1) / 2
    return None if version < TOLERANCE_SINCE or room >= USUAL_TOLERANCE else f"{room:.3f}"


def ratio_behavior(scale: TimeScale, tolerance: str | None = None) -> dict[str, Any]:
    """The HPA's own defaults, which the case study's clusters run with."""
    period = scale.whole(PERIOD_S)
    return {
        "scaleUp": {
            **({} if tolerance is None else {"tolerance": tolerance}),
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [_policy("Percent", 100, period), _policy("Pods", 4, period)],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": scale.whole(RATIO_DOWN_WINDOW_S),
            "policies": [_policy("Percent", 100, period)],
        },
    }


def fallback(minimum: int) -> dict[str, Any]:
    """Without a metric: keep what runs, and at least one worker.

    KEDA's default, static, would scale a busy fleet in to `replicas` when the metric server is away.
    """
    return {"failureThreshold": 4, "replicas": max(1, minimum), "behavior": "currentReplicasIfHigher"}


def to_zero(scale: TimeScale, slo_s: float) -> dict[str, Any]:
    """KEDA's own clocks, which count only between zero and one. slo_s: what a request may wait."""
    poll_s = min(max(slo_s / POLLS_PER_SLO, SHORTEST_POLL_S), LONGEST_POLL_S)
    return {"pollingInterval": scale.whole(poll_s), "cooldownPeriod": scale.whole(COOLDOWN_S)}


def _trigger(reading: Reading, value: str, metric_type: str, target: str) -> dict[str, Any]:
    return {
        "type": "metrics-api",
        "name": value.replace("_", "-"),
        "metricType": metric_type,
        "metadata": {
            "url": reading.url,
            "valueLocation": value,
            "targetValue": target,
            "activationTargetValue": "0",
            "authModes": reading.modes,
        },
        "authenticationRef": {"name": reading.authentication, "kind": "ClusterTriggerAuthentication"},
    }


def _policy(kind: str, value: int, period_s: int) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": period_s}
