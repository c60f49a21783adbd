"""The process that marks idle workers, on a local cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.broker import BrokerOutputs
from components.clusters.local_host import LocalHost
from components.clusters.outputs import ClusterOutputs
from components.manifests import apply
from components.scale_in.settings import config
from providers.surge.resources import Process, Ready
from surge.model import Filter, Settings
from surge.policy.scale_in_rights import rights

__all__ = ["LocalScaleIn", "LocalScaleInArgs"]

USER = "scale-in"


@dataclass(frozen=True, kw_only=True)
class LocalScaleInArgs:
    """filters: those of the cluster; namespace: theirs."""

    host: LocalHost
    cluster: ClusterOutputs
    broker: BrokerOutputs
    filters: Sequence[Filter]
    namespace: str
    settings: Settings
    depends_on: Sequence[pulumi.Resource]


class LocalScaleIn(pulumi.ComponentResource):
    """Nothing waits for it: without it a scale-in takes whom the ReplicaSet controller likes."""

    def __init__(self, name: str, args: LocalScaleInArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:scale:LocalScaleIn", name, None, opts)
        subject = {"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}
        granted = apply(
            name,
            rights(args.namespace, subject, USER),
            opts=args.cluster.child_of(self, args.depends_on),
        )
        self.process = self._process(args, [*granted, *args.depends_on])
        self.register_outputs({})

    def _process(self, args: LocalScaleInArgs, depends_on: Sequence[pulumi.Resource]) -> Process:
        host, broker = args.host, args.broker
        return host.process(
            "scale-in",
            host.module("scale_in", "--config", "{dir}/config.json"),
            environment=host.module_environment,
            files={
                "config.json": config(
                    args.settings,
                    args.namespace,
                    args.filters,
                    management=[broker.management],
                    vhost=broker.vhost,
                    metrics_host="127.0.0.1",
                    metrics_port=host.ports.scale_in,
                ),
                "kubeconfig": host.pki.kubeconfig(host.pki.user(USER, USER)),
                "credentials": broker.passwords[USER].apply(
                    lambda password: f"{broker.users[USER]}:{password}\n"
                ),
            },
            listens=["scale_in"],
            ready=Ready(http=f"http://127.0.0.1:{host.ports.scale_in}/metrics"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(depends_on)),
        )
