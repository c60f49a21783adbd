"""The saturation server's Deployment and Service, as the restricted pod security standard wants them."""

from collections.abc import Sequence
from hashlib import sha256

import pulumi_kubernetes as k8s

from components.pod_security import UNPRIVILEGED, as_user

__all__ = ["FOLDER", "GRACE_S", "LABELS", "NAME", "PORT", "deployment", "service"]

NAME = "saturation"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "surge"}
PORT = 8443
FOLDER = "/etc/saturation"

# Unready this long before the socket closes: what a Service takes to forget a pod.
GRACE_S = 5
# Beside it, what requests in flight may take, and the end of the process.
END_S = 15


def service() -> k8s.core.v1.ServiceSpecArgsDict:
    return {"selector": LABELS, "ports": [{"name": "https", "port": PORT, "target_port": "https"}]}


def deployment(
    image: str, replicas: int, config: str, *, files: Sequence[str], secret_files: Sequence[str]
) -> k8s.apps.v1.DeploymentSpecArgsDict:
    """config: the text of config.json; pods are replaced when it changes. All other files are followed."""
    return {
        "replicas": replicas,
        "selector": {"match_labels": LABELS},
        # A server that has just started knows less than its longest window: one at a time.
        "strategy": {"type": "RollingUpdate", "rolling_update": {"max_unavailable": 0, "max_surge": 1}},
        "template": {
            "metadata": {
                "labels": LABELS,
                "annotations": {"surge.dev/config": sha256(config.encode()).hexdigest()[:16]},
            },
            "spec": _pod(image, files, secret_files),
        },
    }


def _pod(image: str, files: Sequence[str], secret_files: Sequence[str]) -> k8s.core.v1.PodSpecArgsDict:
    return {
        "automount_service_account_token": False,
        "enable_service_links": False,
        "termination_grace_period_seconds": GRACE_S + END_S,
        "security_context": as_user(reads_files=True),
        "topology_spread_constraints": [
            _spread("kubernetes.io/hostname", "DoNotSchedule"),
            _spread("topology.kubernetes.io/zone", "ScheduleAnyway"),
        ],
        "containers": [_container(image)],
        "volumes": [
            {
                "name": "files",
                "projected": {
                    "default_mode": 0o440,
                    "sources": [
                        {"config_map": {"name": NAME, "items": _items(files)}},
                        {"secret": {"name": NAME, "items": _items(secret_files)}},
                    ],
                },
            }
        ],
    }


def _container(image: str) -> k8s.core.v1.ContainerArgsDict:
    return {
        "name": NAME,
        "image": image,
        "args": ["--config", f"{FOLDER}/config.json"],
        "ports": [{"name": "https", "container_port": PORT}],
        "readiness_probe": _probe("/readyz", period_s=2, failures=2),
        "liveness_probe": _probe("/healthz", period_s=10, failures=3),
        # Measured with 1,200 filters, 160 answers a second and a connection per filter: 30m, 131 MiB. No
        # limit of CPU: a throttled server would answer late exactly when all of KEDA asks.
        "resources": {
            "requests": {"cpu": "100m", "memory": "160Mi"},
            "limits": {"memory": "320Mi"},
        },
        "security_context": UNPRIVILEGED,
        "volume_mounts": [{"name": "files", "mount_path": FOLDER, "read_only": True}],
    }


def _probe(path: str, *, period_s: int, failures: int) -> k8s.core.v1.ProbeArgsDict:
    return {
        "http_get": {"path": path, "port": "https", "scheme": "HTTPS"},
        "period_seconds": period_s,
        "timeout_seconds": 2,
        "failure_threshold": failures,
    }


def _spread(key: str, otherwise: str) -> k8s.core.v1.TopologySpreadConstraintArgsDict:
    return {
        "max_skew": 1,
        "topology_key": key,
        "when_unsatisfiable": otherwise,
        "label_selector": {"match_labels": LABELS},
        # Pods of the version before would count during an update, and its last pod found no node.
        "match_label_keys": ["pod-template-hash"],
    }


def _items(names: Sequence[str]) -> list[k8s.core.v1.KeyToPathArgsDict]:
    return [{"key": name, "path": name} for name in names]
