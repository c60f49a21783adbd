"""What runs of the verifier, and what it may do."""

import pulumi_kubernetes as k8s

from components.pod_security import UNPRIVILEGED, as_user
from components.rbac import Rule

__all__ = [
    "LABELS",
    "NAME",
    "RULES",
    "deployment",
    "service",
]

NAME = "verifier"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "surge"}
RULES = [Rule("", ["pods"], ["list", "watch"])]
PORT = 8080
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 -- a pod's own is not known before; the NetworkPolicy closes the rest


def service() -> k8s.core.v1.ServiceSpecArgsDict:
    return {"selector": LABELS, "ports": [{"name": "http", "port": PORT, "target_port": "http"}]}


def deployment(image: str) -> k8s.apps.v1.DeploymentSpecArgsDict:
    """One pod: while it moves, two alerts know that nobody watches."""
    return {
        "replicas": 1,
        "selector": {"match_labels": LABELS},
        "strategy": {"type": "RollingUpdate", "rolling_update": {"max_unavailable": 0, "max_surge": 1}},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "service_account_name": NAME,
                "enable_service_links": False,
                "security_context": as_user(reads_files=False),
                "containers": [_container(image)],
            },
        },
    }


def _container(image: str) -> k8s.core.v1.ContainerArgsDict:
    return {
        "name": NAME,
        "image": image,
        "command": ["/opt/saturation/bin/python", "-m", "verifier"],
        "args": ["--host", EVERY_ADDRESS, "--port", str(PORT)],
        "ports": [{"name": "http", "container_port": PORT}],
        "readiness_probe": {"http_get": {"path": "/metrics", "port": "http"}, "period_seconds": 10},
        "liveness_probe": {"http_get": {"path": "/metrics", "port": "http"}, "period_seconds": 30},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "security_context": UNPRIVILEGED,
    }
