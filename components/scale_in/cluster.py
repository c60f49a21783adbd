"""The process that marks idle workers, on a real cluster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.clusters.outputs import ClusterOutputs
from components.manifests import apply
from components.monitored import (
    API_SERVER,
    DNS,
    Peer,
    network_policy,
    prometheus,
    to_broker,
    told_to_prometheus,
)
from components.scale_in import pods, settings
from surge.model import Filter, Settings
from surge.model.filter import image_by_digest
from surge.policy.scale_in_rights import rights

__all__ = ["ScaleIn", "ScaleInArgs"]

TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, kw_only=True)
class ScaleInArgs:
    """image: of metrics_server/Dockerfile, by digest. namespace: to run in.

    management: the broker's listeners; broker: where they are, as NetworkPolicy peers; authority: PEM of
    theirs, None for a public one. credentials: user:password of a user with the tag `monitoring`.
    monitors: what Prometheus' own objects need before they can be made.

    Raises ValueError for an image by tag.
    """

    cluster: ClusterOutputs
    image: str
    settings: Settings
    filters: Sequence[Filter]
    filters_namespace: str
    namespace: str
    management: Sequence[str]
    broker: Sequence[Peer]
    vhost: str
    credentials: pulumi.Input[str]
    monitors: Sequence[pulumi.Resource]
    authority: pulumi.Input[str] | None = None
    monitoring_namespace: str = "monitoring"
    depends_on: Sequence[pulumi.Resource] = ()

    def __post_init__(self) -> None:
        image_by_digest(self.image)


class ScaleIn(pulumi.ComponentResource):
    """Nothing waits for it: without it a scale-in takes whom the ReplicaSet controller likes."""

    def __init__(self, name: str, args: ScaleInArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:scale:ScaleIn", name, None, opts)
        self._name = f"{name}-{pods.NAME}"
        self._args = args
        self._child = args.cluster.child_of(self, args.depends_on)
        self._metadata: k8s.meta.v1.ObjectMetaArgsDict = {
            "name": pods.NAME,
            "namespace": args.namespace,
            "labels": pods.LABELS,
        }
        subject = {"kind": "ServiceAccount", "name": pods.NAME, "namespace": args.namespace}
        user = f"system:serviceaccount:{args.namespace}:{pods.NAME}"
        apply(name, rights(args.filters_namespace, subject, user), opts=self._child)
        self._process()
        self._watched()
        self.register_outputs({})

    def _process(self) -> None:
        args, config = self._args, _config(self._args)
        account = k8s.core.v1.ServiceAccount(
            self._name, metadata=self._metadata, automount_service_account_token=False, opts=self._child
        )
        files = k8s.core.v1.Secret(
            self._name, metadata=self._metadata, string_data=_files(args, config), opts=self._child
        )
        k8s.apps.v1.Deployment(
            self._name,
            metadata=self._metadata,
            spec=pods.deployment(args.image, config),
            opts=args.cluster.child_of(self, [account, files]),
        )

    def _watched(self) -> None:
        args = self._args
        k8s.core.v1.Service(self._name, metadata=self._metadata, spec=pods.service(), opts=self._child)
        k8s.networking.v1.NetworkPolicy(
            self._name,
            metadata=self._metadata,
            spec=network_policy(
                pods.LABELS,
                "metrics",
                readers=[prometheus(args.monitoring_namespace)],
                egress=[to_broker(args.broker, args.management), API_SERVER, DNS],
            ),
            opts=self._child,
        )
        told_to_prometheus(
            self._name,
            self._metadata,
            labels=pods.LABELS,
            endpoint={"port": "metrics"},
            alerts="scale-in",
            opts=args.cluster.child_of(self, [*args.depends_on, *args.monitors]),
        )


def _config(args: ScaleInArgs) -> str:
    return settings.config(
        args.settings,
        args.filters_namespace,
        args.filters,
        management=args.management,
        vhost=args.vhost,
        metrics_host="0.0.0.0",  # noqa: S104 -- a pod's own is not known before; the NetworkPolicy closes the rest
        metrics_port=pods.PORT,
        ca=None if args.authority is None else "ca.crt",
    )


def _files(args: ScaleInArgs, config: str) -> dict[str, pulumi.Input[str]]:
    authority: dict[str, pulumi.Input[str]] = {} if args.authority is None else {"ca.crt": args.authority}
    return {
        "config.json": config,
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
            "users": [{"name": pods.NAME, "user": {"tokenFile": f"{TOKENS}/token"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": pods.NAME}}],
            "current-context": "here",
        }
    )
