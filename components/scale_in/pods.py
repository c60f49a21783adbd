"""What runs of the process that marks idle workers."""

from hashlib import sha256

import pulumi_kubernetes as k8s

from components.pod_security import UNPRIVILEGED, as_user

__all__ = ["LABELS", "NAME", "PORT", "deployment", "service"]

NAME, PORT = "scale-in", 9_090
FOLDER = "/etc/scale-in"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "surge"}


def service() -> k8s.core.v1.ServiceSpecArgsDict:
    return {"selector": LABELS, "ports": [{"name": "metrics", "port": PORT, "target_port": "metrics"}]}


def deployment(image: str, config: str) -> k8s.apps.v1.DeploymentSpecArgsDict:
    """One pod: a second would write the same again. config: text of config.json; the pod is replaced when
    it changes, all other files are followed."""
    return {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"match_labels": LABELS},
        "template": {
            "metadata": {
                "labels": LABELS,
                "annotations": {"surge.dev/config": sha256(config.encode()).hexdigest()[:16]},
            },
            "spec": {
                "service_account_name": NAME,
                "automount_service_account_token": True,
                "enable_service_links": False,
                "security_context": as_user(reads_files=True),
                "containers": [_container(image)],
                "volumes": [{"name": "files", "secret": {"secret_name": NAME, "default_mode": 0o440}}],
            },
        },
    }


def _container(image: str) -> k8s.core.v1.ContainerArgsDict:
    probe: k8s.core.v1.ProbeArgsDict = {
        "http_get": {"path": "/metrics", "port": "metrics"},
        "period_seconds": 10,
    }
    return {
        "name": NAME,
        "image": image,
        "command": ["/opt/saturation/bin/python", "-m", "scale_in"],
        "args": ["--config", f"{FOLDER}/config.json"],
        "ports": [{"name": "metrics", "container_port": PORT}],
        "readiness_probe": probe,
        "liveness_probe": probe,
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "192Mi"}},
        "security_context": UNPRIVILEGED,
        "volume_mounts": [{"name": "files", "mount_path": FOLDER, "read_only": True}],
    }
