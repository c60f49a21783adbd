"""Where a filter's pods run, and under which names they are found."""

import pulumi_kubernetes as k8s

from components.filter_service.classes import priority_class
from components.filter_service.shared import Shared
from components.gpu_shape import GpuPart
from surge.model import Filter, WorkerSet

__all__ = ["labels_of", "placed", "pod_labels"]

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
POD_GROUP = "scheduling.x-k8s.io/pod-group"


def labels_of(item: Filter) -> dict[str, str]:
    """Of every object of a filter, and of its pods. Those of a set are found by each member's name too."""
    members = item.members if isinstance(item, WorkerSet) else ()
    return {
        "surge.dev/filter": item.name,
        "surge.dev/class": item.service_class,
        **{f"members.surge.dev/{each.name}": "" for each in members},
    }


def pod_labels(item: Filter, shared: Shared, gpu: GpuPart) -> dict[str, str]:
    """What schedulers and their webhooks read. HAMi makes no gang of a pod group; see `Workers`."""
    grouped = shared.workers.pod_group and gpu.home.pool.kind != "whole"
    return {**gpu.labels, **({POD_GROUP: item.name} if grouped else {})}


def placed(
    spec: k8s.core.v1.PodSpecArgsDict, item: Filter, shared: Shared, gpu: GpuPart
) -> k8s.core.v1.PodSpecArgsDict:
    """`spec` with its place: pool, priority, runtime, spread, the Secrets that images are pulled with."""
    spec["priority_class_name"] = priority_class(item.priority)
    if shared.workers.runtime_class is not None:
        spec["runtime_class_name"] = shared.workers.runtime_class
    if shared.workers.pull_secrets:
        spec["image_pull_secrets"] = [{"name": name} for name in shared.workers.pull_secrets]
    if spread := _spread(item, gpu):
        spec["topology_spread_constraints"] = spread
    return gpu.placed(spec)


def _spread(item: Filter, gpu: GpuPart) -> list[k8s.core.v1.TopologySpreadConstraintArgsDict]:
    """Soft, and over zones first. Cards that are shared are filled up node by node, whole ones are not.

    A node that lacks one of the keys would count for none of them, so a key is named only where
    every node of the pool has it.
    """
    keys = [ZONE] if gpu.home.zoned else []
    if gpu.home.pool.kind == "whole":
        keys.append(HOST)
    return [
        {
            "max_skew": 1,
            "topology_key": key,
            "when_unsatisfiable": "ScheduleAnyway",
            "label_selector": {"match_labels": {"surge.dev/filter": item.name}},
        }
        for key in keys
    ]
