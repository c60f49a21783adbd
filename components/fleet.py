"""The filters of one stack on its cluster, and what they share there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.broker import BrokerOutputs
from components.clusters.outputs import ClusterOutputs
from components.filter_service import (
    FilterService,
    FilterServiceArgs,
    ModelVolumes,
    ModelVolumesArgs,
    Shared,
    disruption_budgets,
    priority_classes,
)
from components.saturation import SaturationOutputs
from surge.model import Filter, Models, Settings

__all__ = ["NAMESPACE", "Fleet", "FleetArgs", "filter_services", "shared_by"]

NAMESPACE = "filters"
BROKER_SECRET = "broker"  # noqa: S105 -- the name of a Secret, not a secret

# Own GPUs first: the broker serves consumers of the highest priority as long as they have room.
OWN_GPUS = 10


@dataclass(frozen=True, kw_only=True)
class FleetArgs:
    """filters: all that run here, in whatever stack their services are. ready: what must serve before
    workers are made. models: where filters' models lie."""

    cluster: ClusterOutputs
    broker: BrokerOutputs
    filters: Sequence[Filter]
    models: Models
    ready: Sequence[pulumi.Resource]


class Fleet(pulumi.ComponentResource):
    """What all filters of a cluster share, whichever stack they are in. ready: what they need of it."""

    def __init__(self, name: str, args: FleetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:fleet:Fleet", name, None, opts)
        priorities = priority_classes(name, opts=args.cluster.child_of(self))
        namespace = k8s.core.v1.Namespace(
            f"{name}-{NAMESPACE}",
            metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            # It waits for the cluster's nodes and all the rest: a list of two in the state of each
            # filter, not of 200.
            opts=args.cluster.child_of(self, [*priorities, *args.ready]),
        )
        secret = k8s.core.v1.Secret(
            f"{name}-{BROKER_SECRET}",
            metadata={"name": BROKER_SECRET, "namespace": NAMESPACE},
            string_data={"url": args.broker.urls["worker"]},
            opts=args.cluster.child_of(self, [namespace]),
        )
        disruption_budgets(
            name,
            {item.service_class for item in args.filters},
            NAMESPACE,
            opts=args.cluster.child_of(self, [namespace]),
        )
        ModelVolumes(
            name,
            ModelVolumesArgs(cluster=args.cluster, models=args.models, namespace=namespace),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready: Sequence[pulumi.Resource] = [namespace, secret]
        self.register_outputs({})


def shared_by(settings: Settings, cluster: ClusterOutputs, saturation: SaturationOutputs) -> Shared:
    """What a stack with these settings tells each of its filters."""
    return Shared(
        cluster=cluster,
        saturation=saturation,
        namespace=NAMESPACE,
        broker_secret=BROKER_SECRET,
        priority=OWN_GPUS,
        scale=settings.time_scale,
        simulated=settings.stack_kind == "local",
        workers=settings.workers,
    )


def filter_services(
    filters: Sequence[Filter],
    shared: Shared,
    *,
    ready: Sequence[pulumi.Resource] = (),
    digests: Mapping[str, str] | None = None,
) -> None:
    """A service per filter, each a child of the stack itself: so `pulumi state move` takes it from one stack
    to another and its URN changes in the stack's name alone.

    ready: what must serve before workers are made. digests: of all that shapes a service, by its name.
    """
    for item in filters:
        args = FilterServiceArgs(
            filter=item, shared=shared, depends_on=ready, digest=(digests or {}).get(item.name)
        )
        FilterService(item.name, args)
