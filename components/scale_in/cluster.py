"""The process that marks idle workers, on a real cluster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.clusters.outputs import ClusterOutputs
from components.manifests import apply
from components.scale_in.settings import config
from surge.model import Filter, Settings
from surge.model.filter import image_by_digest
from surge.policy.scale_in_rights import rights

__all__ = ["ScaleIn", "ScaleInArgs"]

NAME, PORT, USER = "scale-in", 9_090, 65_532
FOLDER = "/etc/scale-in"
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "surge"}


@dataclass(frozen=True, kw_only=True)
class ScaleInArgs:
    """image: of metrics_server/Dockerfile, by digest. namespace: to run in.

    management: the broker's listeners; authority: PEM of theirs, None for a public one.
    credentials: user:password of a user with the tag `monitoring`.

    Raises ValueError for an image by tag.
    """

    cluster: ClusterOutputs
    image: str
    settings: Settings
    filters: Sequence[Filter]
    filters_namespace: str
    namespace: str
    management: Sequence[str]
    vhost: str
    credentials: pulumi.Input[str]
    authority: pulumi.Input[str] | None = None
    depends_on: Sequence[pulumi.Resource] = ()

    def __post_init__(self) -> None:
        image_by_digest(self.image)


class ScaleIn(pulumi.ComponentResource):
    """One replica: a second would write the same again. Nothing waits for it."""

    def __init__(self, name: str, args: ScaleInArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:scale:ScaleIn", name, None, opts)
        child = args.cluster.child_of(self, args.depends_on)
        metadata: k8s.meta.v1.ObjectMetaArgsDict = {
            "name": NAME,
            "namespace": args.namespace,
            "labels": LABELS,
        }
        subject = {"kind": "ServiceAccount", "name": NAME, "namespace": args.namespace}
        apply(
            name,
            rights(args.filters_namespace, subject, f"system:serviceaccount:{args.namespace}:{NAME}"),
            opts=child,
        )
        account = k8s.core.v1.ServiceAccount(
            f"{name}-{NAME}", metadata=metadata, automount_service_account_token=False, opts=child
        )
        files = k8s.core.v1.Secret(f"{name}-{NAME}", metadata=metadata, string_data=_files(args), opts=child)
        k8s.apps.v1.Deployment(
            f"{name}-{NAME}",
            metadata=metadata,
            spec=_deployment(args.image),
            opts=args.cluster.child_of(self, [account, files]),
        )
        self.register_outputs({})


def _files(args: ScaleInArgs) -> dict[str, pulumi.Input[str]]:
    authority: dict[str, pulumi.Input[str]] = {} if args.authority is None else {"ca.crt": args.authority}
    settings = config(
        args.settings,
        args.filters_namespace,
        args.filters,
        management=args.management,
        vhost=args.vhost,
        metrics_host="0.0.0.0",  # noqa: S104 -- a pod's own address is not known before
        metrics_port=PORT,
        ca="ca.crt" if authority else None,
    )
    return {
        "config.json": settings,
        "kubeconfig": _kubeconfig(),
        "credentials": args.credentials,
        **authority,
    }


def _kubeconfig() -> str:
    """Names the files that the kubelet keeps in the pod, so that no token is in a Secret of ours."""
    cluster = {"server": "https://kubernetes.default.svc", "certificate-authority": f"{TOKENS}/ca.crt"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": NAME, "user": {"tokenFile": f"{TOKENS}/token"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": NAME}}],
            "current-context": "here",
        }
    )


def _deployment(image: str) -> k8s.apps.v1.DeploymentSpecArgsDict:
    return {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"match_labels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "service_account_name": NAME,
                "automount_service_account_token": True,
                "enable_service_links": False,
                "security_context": {
                    "run_as_non_root": True,
                    "run_as_user": USER,
                    "run_as_group": USER,
                    "fs_group": USER,
                    "seccomp_profile": {"type": "RuntimeDefault"},
                },
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
        "security_context": {
            "allow_privilege_escalation": False,
            "read_only_root_filesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volume_mounts": [{"name": "files", "mount_path": FOLDER, "read_only": True}],
    }
