"""What sizes a filter's workers: its ScaledObject."""

from typing import Any

from components.filter_service.shared import Shared
from components.saturation.settings import SCHEDULING_S
from surge.model import Filter
from surge.policy import scaling
from surge.policy.demand import BETA
from surge.policy.target import automatic_target

__all__ = ["reading", "scaled_object"]


def scaled_object(item: Filter, shared: Shared) -> dict[str, Any]:
    target = _target(item)
    if target is None:  # the signal is demand: only ratio is steered to a target
        triggers = scaling.demand_triggers(reading(item, shared))
        behavior = scaling.demand_behavior(shared.scale)
    else:
        triggers = scaling.ratio_triggers(
            reading(item, shared),
            target=target,
            service_s=item.service_s,
            slots=item.slots,
            drain_s=item.drain_s,
        )
        tolerance = scaling.hpa_tolerance(target, shared.cluster.version)
        behavior = scaling.ratio_behavior(shared.scale, tolerance)
    return {
        "scaleTargetRef": {"name": item.name},
        "minReplicaCount": item.min,
        "maxReplicaCount": item.max,
        **(scaling.to_zero(shared.scale, item.slo_s) if item.min == 0 else {}),
        "fallback": scaling.fallback(item.min),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
        "triggers": triggers,
    }


def reading(item: Filter, shared: Shared) -> scaling.Reading:
    """Where KEDA reads what the filter needs."""
    return scaling.Reading(
        f"{shared.saturation.url}/v1/filters/{item.name}",
        shared.saturation.authentication,
        shared.saturation.auth_modes,
    )


def _target(item: Filter) -> float | None:
    if item.target != "auto":
        return item.target
    return automatic_target(
        item.min,
        item.max,
        slots=item.slots,
        lead_s=item.warmup_s + SCHEDULING_S,
        beta=BETA[item.service_class],
    )
