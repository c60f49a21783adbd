"""The component of a filter: the Deployment of its workers and the ScaledObject that sizes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.filter_service.placement import labels_of, pod_labels
from components.filter_service.pod import pod, simulation
from components.filter_service.scaling import scaled_object
from components.filter_service.shared import Shared
from components.gpu_shape import gpu_part
from surge.model import Filter

__all__ = ["FilterService", "FilterServiceArgs"]


@dataclass(frozen=True, kw_only=True)
class FilterServiceArgs:
    filter: Filter
    shared: Shared
    depends_on: Sequence[pulumi.Resource] = ()


class FilterService(pulumi.ComponentResource):
    """Workers of one filter, sized by its signal.

    Replicas belong to the HPA, and no update touches them: it would reset a fleet in the middle of a
    spike. Only a filter that rests at zero says so when it is made: without a word a Deployment starts
    one worker, and 900 such filters would ask for 900 GPUs on their first day.
    """

    def __init__(
        self, name: str, args: FilterServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("surge:fleet:FilterService", name, None, opts)
        shared = args.shared
        gpu = gpu_part(args.filter, shared.cluster.node_pools)
        metadata: k8s.meta.v1.ObjectMetaArgsDict = {
            "name": name,
            "namespace": shared.namespace,
            "labels": labels_of(args.filter),
        }
        self.workers = k8s.apps.v1.Deployment(
            name,
            metadata=metadata,
            spec={
                "replicas": 0 if args.filter.min == 0 else None,
                "selector": {"match_labels": {"surge.dev/filter": name}},
                "strategy": {
                    "type": "RollingUpdate",
                    "rolling_update": {"max_unavailable": 0, "max_surge": "25%"},
                },
                "template": {
                    "metadata": {
                        "labels": {**labels_of(args.filter), **pod_labels(args.filter, shared, gpu)},
                        "annotations": {**simulation(args.filter, shared), **gpu.annotations},
                    },
                    "spec": pod(args.filter, shared, gpu),
                },
            },
            opts=pulumi.ResourceOptions.merge(
                shared.cluster.child_of(self, args.depends_on),
                pulumi.ResourceOptions(ignore_changes=["spec.replicas"]),
            ),
        )
        self.scaling = k8s.apiextensions.CustomResource(
            name,
            api_version="keda.sh/v1alpha1",
            kind="ScaledObject",
            metadata=metadata,
            spec=scaled_object(args.filter, shared),
            opts=shared.cluster.child_of(self, args.depends_on),
        )
        self.register_outputs({"workers": self.workers.metadata["name"]})
