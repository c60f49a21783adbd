"""A Kubernetes cluster of plain processes on this machine, with simulated GPU nodes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

from components.clusters import local_node_pool as node_pool
from components.clusters.local_host import LocalHost
from components.clusters.local_pki import LocalPki
from components.clusters.outputs import ClusterOutputs, kubernetes_provider
from components.rbac import Rule, cluster_role
from providers.surge.resources import Process, Ready
from surge.policy import control_plane
from surge.policy.gpu import Pool
from surge.policy.ports import Ports
from surge.policy.timescale import TimeScale

__all__ = ["LocalCluster", "LocalClusterArgs"]

STAGES = Path(__file__).with_name("kwok_stages.yaml")

# Of toolchain/kubernetes.
VERSION = (1, 36)

# The HPA's own default; every ScaledObject states its window, this one is for HPAs of others.
DOWN_WINDOW_S = 300


@dataclass(frozen=True, kw_only=True)
class LocalClusterArgs:
    """directory, tools, python, source: absolute paths, see LocalHost. hpa_sync_s: model seconds."""

    directory: str
    tools: str
    python: str
    source: str
    base_port: int
    pools: Sequence[Pool]
    hpa_sync_s: float
    scale: TimeScale


class LocalCluster(pulumi.ComponentResource):
    """etcd, API server, controller-manager, scheduler, kwok and HAMi's stand-in, each a Process of ours.

    host: for what else runs on this machine beside the cluster. outputs: as from every cluster.
    """

    def __init__(self, name: str, args: LocalClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:cluster:Local", name, None, opts)
        self._name = name
        self._args = args
        ports = Ports(args.base_port)
        server = f"https://127.0.0.1:{ports.apiserver}"
        pki = LocalPki(name, server=server, opts=pulumi.ResourceOptions(parent=self))
        self.host = LocalHost(
            name=name,
            directory=args.directory,
            tools=args.tools,
            python=args.python,
            source=args.source,
            ports=ports,
            scale=args.scale,
            pki=pki,
        )
        self.etcd = self._etcd()
        self.apiserver = self._apiserver()
        self.kubeconfig = pki.kubeconfig(pki.user("admin", "admin", groups=["system:masters"]))
        self.kubernetes = kubernetes_provider(name, self.kubeconfig, self._child([self.apiserver]))
        controllers = [self._controller_manager(), self._scheduler(), self._kwok(), self._hami()]
        self.nodes = self._nodes(depends_on=controllers)
        self.outputs = ClusterOutputs(
            name=name,
            kubeconfig=self.kubeconfig,
            kubernetes=self.kubernetes,
            ready=[*controllers, *self.nodes],
            node_pools=node_pool.by_name(args.pools),
            storage_class=None,
            load_balancer_address="127.0.0.1",
            lifeline=self.etcd,
            version=VERSION,
        )
        self.register_outputs({"kubeconfig": self.kubeconfig})

    def _child(self, depends_on: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _etcd(self) -> Process:
        pki = self.host.pki
        serving = pki.etcd_server()
        return self.host.process(
            "etcd",
            control_plane.etcd(self.host.tools, self.host.ports),
            files={
                "tls.crt": serving.certificate,
                "tls.key": serving.private_key,
                "ca.crt": pki.etcd.certificate,
            },
            listens=["etcd_client", "etcd_peer"],
            ready=Ready(
                http=f"https://127.0.0.1:{self.host.ports.etcd_client}/health",
                ca_file="{dir}/ca.crt",
                certificate_file="{dir}/tls.crt",
                key_file="{dir}/tls.key",
            ),
            opts=self._child([]),
        )

    def _apiserver(self) -> Process:
        pki = self.host.pki
        serving = pki.serve("apiserver", dns_names=control_plane.API_SERVER_NAMES)
        aggregator, etcd = pki.aggregator(), pki.etcd_client()
        files: dict[str, pulumi.Input[str]] = {
            "tls.crt": serving.certificate,
            "tls.key": serving.private_key,
            "ca.crt": pki.authority.certificate,
            "front-proxy-ca.crt": pki.front_proxy.certificate,
            "front-proxy-client.crt": aggregator.certificate,
            "front-proxy-client.key": aggregator.private_key,
            "service-accounts.crt": pki.service_accounts.certificate,
            "service-accounts.key": pki.service_accounts.private_key,
            "etcd-ca.crt": pki.etcd.certificate,
            "etcd-client.crt": etcd.certificate,
            "etcd-client.key": etcd.private_key,
        }
        return self.host.process(
            "kube-apiserver",
            control_plane.apiserver(self.host.tools, self.host.ports),
            files=files,
            listens=["apiserver"],
            ready=Ready(http=f"https://127.0.0.1:{self.host.ports.apiserver}/readyz", ca_file="{dir}/ca.crt"),
            stop_timeout_s=70,
            opts=self._child([self.etcd]),
        )

    def _controller_manager(self) -> Process:
        pki, scale = self.host.pki, self.host.scale
        return self.host.process(
            "kube-controller-manager",
            control_plane.controller_manager(
                self.host.tools,
                self.host.ports,
                hpa_sync_s=scale.wall(self._args.hpa_sync_s),
                hpa_down_window_s=scale.wall(DOWN_WINDOW_S),
            ),
            files={
                "kubeconfig": pki.kubeconfig(pki.user("kcm", "system:kube-controller-manager")),
                "ca.crt": pki.authority.certificate,
                "service-accounts.key": pki.service_accounts.private_key,
            },
            listens=["controller_manager"],
            ready=self._listening("controller_manager"),
            opts=self._child([self.apiserver]),
        )

    def _scheduler(self) -> Process:
        pki = self.host.pki
        return self.host.process(
            "kube-scheduler",
            control_plane.scheduler(self.host.tools, self.host.ports),
            files={
                "kubeconfig": pki.kubeconfig(pki.user("scheduler", "system:kube-scheduler")),
                "config.json": control_plane.scheduler_configuration(
                    f"http://127.0.0.1:{self.host.ports.hami}"
                ),
            },
            listens=["scheduler"],
            ready=self._listening("scheduler"),
            opts=self._child([self.apiserver]),
        )

    def _listening(self, service: str) -> Ready:
        # Both make their own certificate at every start, so there is nothing to verify it against;
        # a TCP probe is what remains.
        return Ready(tcp=f"127.0.0.1:{self.host.ports.by_service[service]}")

    def _kwok(self) -> Process:
        pki = self.host.pki
        role = cluster_role(
            f"{self._name}-kwok",
            user="kwok",
            rules=[
                Rule("", ["nodes", "pods"], ["get", "list", "watch", "patch", "update", "delete"]),
                Rule("", ["nodes/status", "pods/status"], ["patch", "update"]),
                Rule("", ["events"], ["create", "patch", "update"]),
                Rule(
                    "coordination.k8s.io",
                    ["leases"],
                    ["get", "list", "watch", "create", "patch", "update", "delete"],
                ),
            ],
            opts=self._in_cluster(),
        )
        return self.host.process(
            "kwok",
            control_plane.kwok(self.host.tools, self.host.ports),
            files={
                "kubeconfig": pki.kubeconfig(pki.user("kwok", "kwok")),
                "stages.yaml": STAGES.read_text(),
            },
            listens=["kwok"],
            ready=Ready(http=f"http://127.0.0.1:{self.host.ports.kwok}/healthz"),
            opts=self._child([self.apiserver, *role]),
        )

    def _hami(self) -> Process:
        host = self.host
        role = cluster_role(
            f"{self._name}-hami",
            user="hami",
            rules=[
                Rule("", ["pods", "nodes"], ["get", "list", "watch", "patch"]),
                Rule("", ["pods/binding"], ["create"]),
            ],
            opts=self._in_cluster(),
        )
        settings = {"kubeconfig": "{dir}/kubeconfig", "port": host.ports.hami}
        return host.process(
            "hami",
            host.module("lab.hami", "--config", "{dir}/config.json"),
            environment=host.module_environment,
            files={
                "config.json": json.dumps(settings, indent=1),
                "kubeconfig": host.pki.kubeconfig(host.pki.user("hami", "hami")),
            },
            listens=["hami"],
            ready=Ready(http=f"http://127.0.0.1:{host.ports.hami}/readyz"),
            opts=self._child([self.apiserver, *role]),
        )

    def _nodes(self, depends_on: Sequence[pulumi.Resource]) -> list[k8s.core.v1.Node]:
        return [
            self._node(f"{pool.name}-{number}", pool, node_pool.zone(number), depends_on)
            for pool in self._args.pools
            for number in range(pool.nodes)
        ]

    def _node(
        self, name: str, pool: Pool, zone: str, depends_on: Sequence[pulumi.Resource]
    ) -> k8s.core.v1.Node:
        return k8s.core.v1.Node(
            f"{self._name}-{name}",
            metadata={
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    node_pool.ZONE: zone,
                    **node_pool.labels(pool),
                },
                "annotations": node_pool.annotations(name, pool),
            },
            spec={"taints": [node_pool.taint(pool)]} if pool.kind != "whole" else None,
            opts=self._in_cluster(depends_on),
        )

    def _in_cluster(self, depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self, provider=self.kubernetes, depends_on=list(depends_on), deleted_with=self.etcd
        )
