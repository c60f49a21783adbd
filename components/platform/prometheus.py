"""Prometheus on a local cluster, as a process that scrapes the other processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi

from components.clusters.local_host import LocalHost
from components.clusters.outputs import ClusterOutputs
from components.rbac import cluster_role
from providers.surge.resources import Process, Ready
from surge.policy import prometheus

__all__ = ["LocalPrometheus", "LocalPrometheusArgs"]


@dataclass(frozen=True, kw_only=True)
class LocalPrometheusArgs:
    """scrape_s: model seconds, and wall seconds for what runs at its own pace; retention: as Prometheus
    writes it, such as 2h; rules: rule files."""

    host: LocalHost
    cluster: ClusterOutputs
    scrape_s: float
    retention: str
    rules: Sequence[Path]


class LocalPrometheus(pulumi.ComponentResource):
    def __init__(
        self, name: str, args: LocalPrometheusArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("surge:platform:LocalPrometheus", name, None, opts)
        host = args.host
        rights = cluster_role(
            f"{host.name}-prometheus",
            user="prometheus",
            paths=["/metrics"],
            opts=args.cluster.child_of(self),
        )
        self.process = self._process(args, depends_on=rights)
        self.url = f"http://127.0.0.1:{host.ports.prometheus}"
        self.register_outputs({"url": self.url})

    def _process(self, args: LocalPrometheusArgs, depends_on: Sequence[pulumi.Resource]) -> Process:
        host = args.host
        user = host.pki.user("prometheus", "prometheus")
        return host.process(
            "prometheus",
            prometheus.command(host.ports.prometheus, retention=args.retention),
            files={
                "prometheus.yml": prometheus.configuration(
                    host.ports, scrape_s=args.scrape_s, compressed_s=host.scale.wall(args.scrape_s)
                ),
                **{f"rules/{file.name}": file.read_text() for file in args.rules},
                "ca.crt": host.pki.authority.certificate,
                "client.crt": user.certificate,
                "client.key": user.private_key,
            },
            listens=["prometheus"],
            ready=Ready(http=f"http://127.0.0.1:{host.ports.prometheus}/-/ready"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(depends_on)),
        )
