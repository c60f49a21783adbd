"""What runs of the verifier, what it may do, who may talk to it, what Prometheus is told of it."""

from pathlib import Path
from typing import Any

import pulumi_kubernetes as k8s
import yaml

from components.rbac import Rule

__all__ = [
    "LABELS",
    "NAME",
    "PAIR_ALERTS",
    "RULES",
    "deployment",
    "network_policy",
    "rules",
    "service",
    "service_monitor",
]

NAME = "verifier"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "surge"}
PAIR_ALERTS = Path(__file__).parents[2] / "alerts" / "pairs.yaml"
RULES = [Rule("", ["pods"], ["list", "watch"])]
PORT = 8080
USER = 65532
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
                "security_context": {
                    "run_as_non_root": True,
                    "run_as_user": USER,
                    "run_as_group": USER,
                    "seccomp_profile": {"type": "RuntimeDefault"},
                },
                "containers": [_container(image)],
            },
        },
    }


def network_policy(monitoring: str) -> k8s.networking.v1.NetworkPolicySpecArgsDict:
    """In: Prometheus in the namespace `monitoring`. Out: the API server, which no selector can name."""
    return {
        "pod_selector": {"match_labels": LABELS},
        "policy_types": ["Ingress", "Egress"],
        "ingress": [
            {
                "from_": [
                    {
                        "namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": monitoring}},
                        "pod_selector": {"match_labels": {"app.kubernetes.io/name": "prometheus"}},
                    }
                ],
                "ports": [{"port": "http", "protocol": "TCP"}],
            }
        ],
        "egress": [{"ports": [{"port": port, "protocol": "TCP"} for port in (443, 6443)]}],
    }


def service_monitor() -> dict[str, Any]:
    return {
        "jobLabel": "app.kubernetes.io/name",
        "selector": {"matchLabels": LABELS},
        "endpoints": [{"port": "http", "interval": "15s"}],
    }


def rules() -> dict[str, Any]:
    """The spec of a PrometheusRule: alerts/pairs.yaml as it is."""
    return yaml.load(PAIR_ALERTS.read_text(), yaml.CSafeLoader)


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
        "security_context": {
            "allow_privilege_escalation": False,
            "read_only_root_filesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
