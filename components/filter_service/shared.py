"""What all filters of a cluster have in common."""

from dataclasses import dataclass

from components.clusters.outputs import ClusterOutputs
from components.saturation import SaturationOutputs
from surge.model import Filter, Workers
from surge.policy.jobs import GOODBYE_S
from surge.policy.timescale import TimeScale

__all__ = ["Shared"]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all filters of a cluster have in common. broker_secret: name of the Secret with key `url`."""

    cluster: ClusterOutputs
    saturation: SaturationOutputs
    namespace: str
    broker_secret: str
    priority: int
    scale: TimeScale
    simulated: bool
    workers: Workers

    def grace_s(self, item: Filter) -> int:
        """Wall seconds that a worker of `item` has from SIGTERM to its end."""
        return self.scale.whole(item.longest_job_s + GOODBYE_S)
