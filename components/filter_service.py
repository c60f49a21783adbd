"""One filter on one cluster: the Deployment of its workers and the ScaledObject that sizes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.clusters.outputs import ClusterOutputs
from components.gpu_shape import UNPRIVILEGED, GpuPart, gpu_part
from components.saturation import SaturationOutputs
from components.saturation.settings import SCHEDULING_S
from surge.model import Filter
from surge.policy import scaling
from surge.policy.demand import BETA
from surge.policy.target import automatic_target
from surge.policy.timescale import TimeScale

__all__ = ["FilterService", "FilterServiceArgs", "Shared"]

# What a worker needs beyond its longest job to say goodbye: cancel, ack, close.
GOODBYE_S = 30
PROBE_PORT = 8080


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


@dataclass(frozen=True, kw_only=True)
class FilterServiceArgs:
    filter: Filter
    shared: Shared
    depends_on: Sequence[pulumi.Resource] = ()


class FilterService(pulumi.ComponentResource):
    """Workers of one filter, sized by its signal.

    Replicas belong to the HPA, so the Deployment never states them: an update would otherwise
    reset a fleet in the middle of a spike.
    """

    def __init__(
        self, name: str, args: FilterServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("surge:fleet:FilterService", name, None, opts)
        shared = args.shared
        labels = {"surge.dev/filter": name}
        gpu = gpu_part(args.filter, shared.cluster.node_pools)
        metadata: k8s.meta.v1.ObjectMetaArgsDict = {
            "name": name,
            "namespace": shared.namespace,
            "labels": {**labels, "surge.dev/class": args.filter.service_class},
        }
        self.workers = k8s.apps.v1.Deployment(
            name,
            metadata=metadata,
            spec={
                "selector": {"match_labels": labels},
                "strategy": {
                    "type": "RollingUpdate",
                    "rolling_update": {"max_unavailable": 0, "max_surge": "25%"},
                },
                "template": {
                    "metadata": {
                        "labels": {**labels, **gpu.labels},
                        "annotations": {**_simulation(args.filter, shared), **gpu.annotations},
                    },
                    "spec": _pod(args.filter, shared, gpu),
                },
            },
            opts=shared.cluster.child_of(self, args.depends_on),
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


def scaled_object(item: Filter, shared: Shared) -> dict[str, Any]:
    reading = scaling.Reading(
        f"{shared.saturation.url}/v1/filters/{item.name}",
        shared.saturation.authentication,
        shared.saturation.auth_modes,
    )
    target = _target(item)
    if target is None:  # the signal is demand: only ratio is steered to a target
        triggers = scaling.demand_triggers(reading)
        behavior = scaling.demand_behavior(shared.scale)
    else:
        triggers = scaling.ratio_triggers(
            reading,
            target=target,
            service_s=item.service_s,
            slots=item.slots,
            drain_s=item.drain_s,
        )
        behavior = scaling.ratio_behavior(shared.scale)
    return {
        "scaleTargetRef": {"name": item.name},
        "minReplicaCount": item.min,
        "maxReplicaCount": item.max,
        **(scaling.to_zero(shared.scale) if item.min == 0 else {}),
        "fallback": scaling.fallback(item.min),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
        "triggers": triggers,
    }


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


def _pod(item: Filter, shared: Shared, gpu: GpuPart) -> k8s.core.v1.PodSpecArgsDict:
    spec: k8s.core.v1.PodSpecArgsDict = {
        "termination_grace_period_seconds": _grace_s(item, shared),
        "automount_service_account_token": False,
        "security_context": {"run_as_non_root": True, "seccomp_profile": {"type": "RuntimeDefault"}},
        "containers": [_worker(item, shared, gpu), *gpu.beside],
        "volumes": [
            {"name": "broker", "secret": {"secret_name": shared.broker_secret, "default_mode": 0o440}},
            *gpu.volumes,
        ],
    }
    return gpu.placed(spec)


def _worker(item: Filter, shared: Shared, gpu: GpuPart) -> k8s.core.v1.ContainerArgsDict:
    environment = {
        "SURGE_FILTER": item.name,
        "SURGE_QUEUE": item.queue,
        "SURGE_SLOTS": str(item.slots),
        "SURGE_PRIORITY": str(shared.priority),
        "SURGE_GRACE_S": str(_grace_s(item, shared)),
        "SURGE_AMQP_URL_FILE": "/etc/surge/broker/url",
    }
    return {
        "name": "worker",
        "image": item.image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": [{"name": "probes", "container_port": PROBE_PORT}],
        # Warm-up may take as long as it takes; three times the catalogue's figure is a fault.
        "startup_probe": {
            "http_get": {"path": "/readyz", "port": "probes"},
            "period_seconds": 1,
            "failure_threshold": 3 * shared.scale.whole(item.warmup_s),
        },
        "readiness_probe": {"http_get": {"path": "/readyz", "port": "probes"}, "period_seconds": 2},
        "liveness_probe": {"http_get": {"path": "/healthz", "port": "probes"}, "period_seconds": 10},
        "resources": {"limits": dict(gpu.limits)},
        "security_context": UNPRIVILEGED,
        "volume_mounts": [
            {"name": "broker", "mount_path": "/etc/surge/broker", "read_only": True},
            *gpu.mounts,
        ],
    }


def _grace_s(item: Filter, shared: Shared) -> int:
    return shared.scale.whole(item.longest_job_s + GOODBYE_S)


def _simulation(item: Filter, shared: Shared) -> dict[str, str]:
    """How long a simulated worker takes, in wall seconds; nothing where work is real."""
    if not shared.simulated:
        return {}
    return {
        "lab.surge.dev/service-s": f"{shared.scale.wall(item.service_s):.6g}",
        "lab.surge.dev/warmup-s": f"{shared.scale.wall(item.warmup_s):.6g}",
        "lab.surge.dev/longest-job-s": f"{shared.scale.wall(item.longest_job_s):.6g}",
    }
