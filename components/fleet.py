"""Every filter of the catalogue on one cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.broker import BrokerOutputs
from components.clusters.outputs import ClusterOutputs
from components.filter_service import FilterService, FilterServiceArgs, Shared
from components.saturation import SaturationOutputs
from surge.model import Filter
from surge.policy.timescale import TimeScale

__all__ = ["NAMESPACE", "Fleet", "FleetArgs"]

NAMESPACE = "filters"
BROKER_SECRET = "broker"  # noqa: S105 -- the name of a Secret, not a secret


@dataclass(frozen=True, kw_only=True)
class FleetArgs:
    """priority: of this cluster's consumers; the broker serves the highest first.

    simulated: the GPU work is the lab's, and takes the catalogue's times.
    ready: what must serve before workers are made.
    """

    cluster: ClusterOutputs
    broker: BrokerOutputs
    saturation: SaturationOutputs
    filters: Sequence[Filter]
    priority: int
    scale: TimeScale
    simulated: bool
    ready: Sequence[pulumi.Resource]


class Fleet(pulumi.ComponentResource):
    def __init__(self, name: str, args: FleetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:fleet:Fleet", name, None, opts)
        namespace = k8s.core.v1.Namespace(
            f"{name}-{NAMESPACE}", metadata={"name": NAMESPACE}, opts=args.cluster.child_of(self, args.ready)
        )
        secret = k8s.core.v1.Secret(
            f"{name}-{BROKER_SECRET}",
            metadata={"name": BROKER_SECRET, "namespace": NAMESPACE},
            string_data={"url": args.broker.urls["worker"]},
            opts=args.cluster.child_of(self, [namespace]),
        )
        shared = Shared(
            cluster=args.cluster,
            saturation=args.saturation,
            namespace=NAMESPACE,
            broker_secret=BROKER_SECRET,
            priority=args.priority,
            scale=args.scale,
            simulated=args.simulated,
        )
        # Handed down by hand: depends_on of a component does not reach its children. The namespace waits
        # for the cluster's nodes and all the rest: a list of two in the state of each filter, not of 200.
        waits = [namespace, secret]
        self.services = {
            item.name: FilterService(
                item.name,
                FilterServiceArgs(filter=item, shared=shared, depends_on=waits),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for item in args.filters
        }
        self.register_outputs({})
