"""KEDA on a local cluster: its objects from the pinned module, operator and adapter as processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

from components.clusters.local_host import LocalHost
from components.clusters.outputs import ClusterOutputs
from components.manifests import apply, read
from providers.surge.resources import Process, Ready
from surge.policy import control_plane

__all__ = ["NAMESPACE", "LocalKeda", "LocalKedaArgs"]

NAMESPACE = "keda"
OBJECTS = ("general", "service_account", "rbac", "metrics-server")

# The stock service, deployment and API service are for an adapter that runs in a pod.
NOT_HERE = ("Deployment", "Service", "APIService")


@dataclass(frozen=True, kw_only=True)
class LocalKedaArgs:
    host: LocalHost
    cluster: ClusterOutputs


class LocalKeda(pulumi.ComponentResource):
    """ready: what a ScaledObject needs before it can be made and served."""

    def __init__(self, name: str, args: LocalKedaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:platform:LocalKeda", name, None, opts)
        self._name = name
        self._args = args
        config = Path(args.host.tools).parent / "keda"
        child = args.cluster.child_of(self)
        self.definitions = apply(name, read(config / "crd" / "bases"), opts=child)
        objects = [
            item for folder in OBJECTS for item in read(config / folder) if item["kind"] not in NOT_HERE
        ]
        namespaces = apply(name, [item for item in objects if item["kind"] == "Namespace"], opts=child)
        self.namespace = namespaces[0]
        rest = args.cluster.child_of(self, namespaces)
        rights = apply(name, [item for item in objects if item["kind"] != "Namespace"], opts=rest)
        processes = self._processes(depends_on=[*self.definitions, *rights])
        self.ready: Sequence[pulumi.Resource] = [*self.definitions, *processes, self._api_service(processes)]
        self.register_outputs({})

    def _processes(self, depends_on: list[pulumi.Resource]) -> list[Process]:
        host = self._args.host
        # The certificate's user is KEDA's service account: the stock rights apply unchanged, and no
        # token expires.
        user = host.pki.user(
            "keda", "system:serviceaccount:keda:keda-operator", groups=["system:serviceaccounts"]
        )
        pair = host.pki.serve(
            "keda", dns_names=["localhost", "keda-metrics-apiserver.keda.svc", "keda-operator.keda.svc"]
        )
        files: dict[str, pulumi.Input[str]] = {
            "kubeconfig": host.pki.kubeconfig(user),
            "certs/ca.crt": host.pki.authority.certificate,
            "certs/tls.crt": pair.certificate,
            "certs/tls.key": pair.private_key,
            "ca/ca.crt": host.pki.authority.certificate,
        }
        environment: dict[str, pulumi.Input[str]] = {
            "KUBECONFIG": "{dir}/kubeconfig",
            "WATCH_NAMESPACE": "",
            "POD_NAMESPACE": NAMESPACE,
            "POD_NAME": "keda-local",
            "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
            "KEDA_HTTP_DEFAULT_TIMEOUT": "3000",
        }
        operator = host.process(
            "keda-operator",
            control_plane.keda_operator(host.tools, host.ports),
            files=files,
            environment=environment,
            listens=["keda_operator_metrics", "keda_operator_health", "keda_operator_grpc"],
            ready=Ready(http=f"http://127.0.0.1:{host.ports.keda_operator_health}/readyz"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
        adapter = host.process(
            "keda-adapter",
            control_plane.keda_adapter(host.tools, host.ports),
            files=files,
            environment=environment,
            listens=["keda_adapter", "keda_adapter_metrics"],
            ready=Ready(tcp=f"127.0.0.1:{host.ports.keda_adapter}"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
        return [operator, adapter]

    def _api_service(self, processes: list[Process]) -> pulumi.Resource:
        """By an ExternalName service the API server finds the adapter on loopback, and verifies its name."""
        port = self._args.host.ports.keda_adapter
        name = "keda-metrics-apiserver"
        service = k8s.core.v1.Service(
            f"{self._name}-adapter",
            metadata={"name": name, "namespace": NAMESPACE},
            spec={
                "type": "ExternalName",
                "external_name": "localhost",
                "ports": [{"name": "https", "port": port}],
            },
            opts=self._args.cluster.child_of(self, [self.namespace]),
        )
        return k8s.apiregistration.v1.APIService(
            f"{self._name}-external-metrics",
            metadata={"name": "v1beta1.external.metrics.k8s.io"},
            spec={
                "service": {"name": name, "namespace": NAMESPACE, "port": port},
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "group_priority_minimum": 100,
                "version_priority": 100,
                "ca_bundle": self._args.host.pki.authority_base64,
            },
            opts=self._args.cluster.child_of(self, [service, *processes]),
        )
