"""What the metric server needs to know of the catalogue, in the wall seconds it lives in."""

from typing import Any

from surge.model.catalogue import Catalogue
from surge.policy.demand import BETA
from surge.policy.timescale import TimeScale

__all__ = ["saturation_filters"]


def saturation_filters(catalogue: Catalogue, scale: TimeScale) -> dict[str, Any]:
    """Return the content of the metric server's `filters_file`."""
    return {
        "filters": [
            {
                "name": each.name,
                "queue": each.queue,
                "slots": each.slots,
                "service_s": scale.wall(each.service_s),
                "drain_s": scale.wall(each.drain_s),
                "beta": BETA[each.service_class],
            }
            for each in catalogue.filters
        ]
    }
