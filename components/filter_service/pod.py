"""A worker's pod: its containers, probes, environment and volumes."""

from collections.abc import Sequence

import pulumi_kubernetes as k8s

from components.filter_service.model import MODEL, ModelPart, model_part
from components.filter_service.placement import labels_of, placed, pod_labels
from components.filter_service.shared import Shared
from components.filter_service.shared_folder import SharedFolder, shared_folder
from components.gpu_shape import GpuPart, gpu_part
from components.pod_security import UNPRIVILEGED
from surge.model import Filter, WorkerSet
from surge.policy.jobs import shift_s

__all__ = ["pod_template"]

PROBE_PORT = 8080


def pod_template(item: Filter, shared: Shared) -> k8s.core.v1.PodTemplateSpecArgsDict:
    """Raises as `gpu_part` and `model_part`, for a filter that `check` refuses."""
    gpu = gpu_part(item, shared.cluster.node_pools)
    return {
        "metadata": {
            "labels": {**labels_of(item), **pod_labels(item, shared, gpu)},
            "annotations": {**_simulation(item, shared), **gpu.annotations},
        },
        "spec": _pod(item, shared, gpu),
    }


def _pod(item: Filter, shared: Shared, gpu: GpuPart) -> k8s.core.v1.PodSpecArgsDict:
    model = model_part(item.model, shared.workers.models)
    folder = shared_folder(item, shared.workers.shared_claim)
    spec: k8s.core.v1.PodSpecArgsDict = {
        "termination_grace_period_seconds": shared.grace_s(item),
        "automount_service_account_token": False,
        "security_context": {"run_as_non_root": True, "seccomp_profile": {"type": "RuntimeDefault"}},
        "containers": [_worker(item, shared, gpu, model, folder), *model.shown_to(gpu.beside)],
        "volumes": [
            {"name": "broker", "secret": {"secret_name": shared.broker_secret, "default_mode": 0o440}},
            *gpu.volumes,
            *model.volumes,
            *folder.volumes,
        ],
    }
    if before := [*model.before, *model.shown_to(gpu.before)]:
        spec["init_containers"] = before
    return placed(spec, item, shared, gpu)


def _simulation(item: Filter, shared: Shared) -> dict[str, str]:
    """How long a simulated worker takes, in wall seconds; nothing where work is real."""
    if not shared.simulated:
        return {}
    return {
        "lab.surge.dev/service-s": f"{shared.scale.wall(item.service_s):.6g}",
        "lab.surge.dev/warmup-s": f"{shared.scale.wall(item.warmup_s):.6g}",
        "lab.surge.dev/longest-job-s": f"{shared.scale.wall(item.longest_job_s):.6g}",
        **{
            f"service-s.lab.surge.dev/{each.name}": f"{shared.scale.wall(each.service_s):.6g}"
            for each in _members(item)
        },
    }


def _members(item: Filter) -> Sequence[Filter]:
    return item.members if isinstance(item, WorkerSet) else ()


def _worker(
    item: Filter, shared: Shared, gpu: GpuPart, model: ModelPart, folder: SharedFolder
) -> k8s.core.v1.ContainerArgsDict:
    members = [f"{each.name}={each.queue}" for each in _members(item)]
    environment = {
        "SURGE_FILTER": item.name,
        "SURGE_QUEUE": item.queue,
        **({"SURGE_MEMBERS": ",".join(members)} if members else {}),
        "SURGE_SLOTS": str(item.slots),
        "SURGE_PRIORITY": str(shared.priority),
        "SURGE_GRACE_S": str(shared.grace_s(item)),
        "SURGE_LONGEST_JOB_S": str(shared.scale.whole(item.longest_job_s)),
        "SURGE_AMQP_URL_FILE": "/etc/surge/broker/url",
        **({"SURGE_MODEL": MODEL} if model.mounts else {}),
        **folder.environment,
        **({"SURGE_SHIFT_S": str(shared.scale.whole(shift_s(item.warmup_s)))} if item.runs_as_jobs else {}),
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
            *model.mounts,
            *folder.mounts,
        ],
    }
