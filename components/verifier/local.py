"""The verifier on a local cluster: a process on loopback."""

from dataclasses import dataclass

import pulumi

from components.clusters.local_host import LocalHost
from components.clusters.outputs import ClusterOutputs
from components.rbac import cluster_role
from components.verifier.pods import RULES
from providers.surge.resources import Ready

__all__ = ["LocalVerifier", "LocalVerifierArgs"]


@dataclass(frozen=True, kw_only=True)
class LocalVerifierArgs:
    host: LocalHost
    cluster: ClusterOutputs


class LocalVerifier(pulumi.ComponentResource):
    def __init__(
        self, name: str, args: LocalVerifierArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("surge:verifier:Local", name, None, opts)
        host = args.host
        rights = cluster_role(
            f"{host.name}-verifier", user="verifier", rules=RULES, opts=args.cluster.child_of(self)
        )
        self.process = host.process(
            "verifier",
            host.module("verifier", "--port", str(host.ports.verifier), "--kubeconfig", "{dir}/kubeconfig"),
            environment=host.module_environment,
            files={"kubeconfig": host.pki.kubeconfig(host.pki.user("verifier", "verifier"))},
            listens=["verifier"],
            ready=Ready(http=f"http://127.0.0.1:{host.ports.verifier}/metrics"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=rights),
        )
        self.register_outputs({})
