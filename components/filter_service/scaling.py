"""What sizes a filter's workers: its ScaledObject."""

from typing import Any

from components.filter_service.shared import Shared
from surge.model import Filter
from surge.policy import scaling

__all__ = ["scaled_object"]


def scaled_object(item: Filter, shared: Shared) -> dict[str, Any]:
    reading = scaling.Reading(
        f"{shared.saturation.url}/v1/filters/{item.name}",
        shared.saturation.authentication,
        shared.saturation.auth_modes,
    )
    if item.target is None:  # the signal is demand: only ratio is steered to a target
        triggers = scaling.demand_triggers(reading)
        behavior = scaling.demand_behavior(shared.scale)
    else:
        triggers = scaling.ratio_triggers(
            reading,
            target=item.target,
            service_s=item.service_s,
            slots=item.slots,
            drain_s=item.drain_s,
        )
        tolerance = scaling.hpa_tolerance(item.target, shared.cluster.version)
        behavior = scaling.ratio_behavior(shared.scale, tolerance)
    return {
        "scaleTargetRef": {"name": item.name},
        "minReplicaCount": item.min,
        "maxReplicaCount": item.max,
        **(scaling.to_zero(shared.scale) if item.min == 0 else {}),
        "fallback": scaling.fallback(item.min),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
        "triggers": triggers,
    }
