"""The lab's fleet on a local cluster: it plays the kubelet for worker pods, with real consumers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.clusters.local_host import LocalHost
from components.clusters.outputs import ClusterOutputs
from components.rbac import Rule, cluster_role
from providers.surge.resources import Process, Ready

__all__ = ["LocalWorkers", "LocalWorkersArgs"]


@dataclass(frozen=True, kw_only=True)
class LocalWorkersArgs:
    host: LocalHost
    cluster: ClusterOutputs
    namespace: str
    depends_on: Sequence[pulumi.Resource]


class LocalWorkers(pulumi.ComponentResource):
    def __init__(self, name: str, args: LocalWorkersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:cluster:LocalWorkers", name, None, opts)
        host = args.host
        rights = cluster_role(
            f"{host.name}-lab-fleet",
            user="lab-fleet",
            rules=[
                Rule("", ["pods"], ["get", "list", "watch", "delete"]),
                Rule("", ["pods/status"], ["patch", "update"]),
                Rule("", ["secrets"], ["get"]),
            ],
            opts=args.cluster.child_of(self),
        )
        self.process = self._process(args, [*rights, *args.depends_on])
        self.register_outputs({})

    def _process(self, args: LocalWorkersArgs, depends_on: Sequence[pulumi.Resource]) -> Process:
        host = args.host
        settings = {
            "kubeconfig": "{dir}/kubeconfig",
            "namespace": args.namespace,
            "events": "{dir}/events.ndjson",
            "metrics_port": host.ports.fleet,
        }
        return host.process(
            "fleet",
            host.module("lab.fleet", "--config", "{dir}/config.json"),
            environment=host.module_environment,
            files={
                "config.json": json.dumps(settings, indent=1),
                "kubeconfig": host.pki.kubeconfig(host.pki.user("lab-fleet", "lab-fleet")),
            },
            listens=["fleet"],
            ready=Ready(http=f"http://127.0.0.1:{host.ports.fleet}/metrics"),
            stop_timeout_s=10,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(depends_on)),
        )
