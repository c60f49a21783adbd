"""The verifier of pairs on a real cluster: a pod that may list pods, and do nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.clusters.outputs import ClusterOutputs
from components.monitored import API_SERVER, network_policy, prometheus, told_to_prometheus
from components.rbac import cluster_role
from components.saturation.cluster import NAMESPACE
from components.verifier import pods
from surge.model.filter import image_by_digest

__all__ = ["Verifier", "VerifierArgs"]


@dataclass(frozen=True, kw_only=True)
class VerifierArgs:
    """image: of metrics_server/Dockerfile, by digest. namespace: `surge`, which the saturation server makes.

    monitors: what Prometheus' own objects need before they can be made.

    Raises ValueError for an image by tag.
    """

    cluster: ClusterOutputs
    image: str
    namespace: pulumi.Resource
    monitors: Sequence[pulumi.Resource]
    monitoring_namespace: str = "monitoring"

    def __post_init__(self) -> None:
        image_by_digest(self.image)


class Verifier(pulumi.ComponentResource):
    def __init__(self, name: str, args: VerifierArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:verifier:Cluster", name, None, opts)
        self._name = f"{name}-{pods.NAME}"
        self._args = args
        self._inside = args.cluster.child_of(self, [args.namespace])
        account = k8s.core.v1.ServiceAccount(
            self._name, metadata=_metadata(), automount_service_account_token=True, opts=self._inside
        )
        rights = cluster_role(
            self._name,
            user=f"system:serviceaccount:{NAMESPACE}:{pods.NAME}",
            rules=pods.RULES,
            opts=args.cluster.child_of(self),
        )
        self.workload = k8s.apps.v1.Deployment(
            self._name,
            metadata=_metadata(),
            spec=pods.deployment(args.image),
            opts=args.cluster.child_of(self, [args.namespace, account, *rights]),
        )
        self._watched()
        self.register_outputs({})

    def _watched(self) -> None:
        args = self._args
        k8s.core.v1.Service(self._name, metadata=_metadata(), spec=pods.service(), opts=self._inside)
        k8s.networking.v1.NetworkPolicy(
            self._name,
            metadata=_metadata(),
            spec=network_policy(
                pods.LABELS,
                "http",
                readers=[prometheus(args.monitoring_namespace)],
                egress=[API_SERVER],
            ),
            opts=self._inside,
        )
        told_to_prometheus(
            self._name,
            _metadata(),
            labels=pods.LABELS,
            endpoint={"port": "http"},
            alerts="pairs",
            opts=args.cluster.child_of(self, [args.namespace, *args.monitors]),
        )


def _metadata() -> k8s.meta.v1.ObjectMetaArgsDict:
    return {"name": pods.NAME, "namespace": NAMESPACE, "labels": pods.LABELS}
