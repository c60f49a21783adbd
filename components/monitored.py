"""What a process of ours in a real cluster needs to be found by Prometheus, and with whom it may talk."""

# A module of pulumi_kubernetes is loaded where it is first named, also in an annotation that is evaluated; an
# update of one filter has no use for those of this file.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as k8s
import yaml

__all__ = [
    "API_SERVER",
    "DNS",
    "Peer",
    "alert_rules",
    "in_namespace",
    "network_policy",
    "prometheus",
    "to_broker",
    "told_to_prometheus",
]

Peer: TypeAlias = "k8s.networking.v1.NetworkPolicyPeerArgsDict"
Egress: TypeAlias = "k8s.networking.v1.NetworkPolicyEgressRuleArgsDict"
DEFAULT_PORTS = {"http": 80, "https": 443, "amqp": 5672, "amqps": 5671}


def in_namespace(name: str, labels: Mapping[str, str] | None = None) -> Peer:
    """Pods of a namespace, all or those with `labels`."""
    peer: Peer = {"namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": name}}}
    return peer if labels is None else {**peer, "pod_selector": {"match_labels": labels}}


def prometheus(namespace: str) -> Peer:
    return in_namespace(namespace, {"app.kubernetes.io/name": "prometheus"})


# No selector can name the API server: it has no pod in the cluster's network.
API_SERVER: Egress = {"ports": [{"port": port, "protocol": "TCP"} for port in (443, 6443)]}
DNS: Egress = {
    "to": [in_namespace("kube-system", {"k8s-app": "kube-dns"})],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}


def to_broker(peers: Sequence[Peer], urls: Sequence[str]) -> Egress:
    """peers: where the broker's pods or addresses are. urls: of its listeners, for their ports."""
    parts = [urlsplit(url) for url in urls]
    ports = sorted({part.port or DEFAULT_PORTS[part.scheme] for part in parts})
    return {"to": list(peers), "ports": [{"port": port, "protocol": "TCP"} for port in ports]}


def network_policy(
    labels: Mapping[str, str], port: str, *, readers: Sequence[Peer], egress: Sequence[Egress]
) -> k8s.networking.v1.NetworkPolicySpecArgsDict:
    """Pods with `labels`: `readers` may talk to their port, and they to `egress`, and nobody else."""
    return {
        "pod_selector": {"match_labels": labels},
        "policy_types": ["Ingress", "Egress"],
        "ingress": [{"from_": list(readers), "ports": [{"port": port, "protocol": "TCP"}]}],
        "egress": list(egress),
    }


def alert_rules(subject: str) -> Path:
    """The rule file `alerts/<subject>.yaml`, as it is tested."""
    return Path(__file__).parents[1] / "alerts" / f"{subject}.yaml"


def told_to_prometheus(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgsDict,
    *,
    labels: Mapping[str, str],
    endpoint: Mapping[str, Any],
    alerts: str,
    opts: pulumi.ResourceOptions,
) -> None:
    """Make a ServiceMonitor, and a PrometheusRule that is `alert_rules(alerts)` as it is.

    metadata: of both. labels: of the Service. endpoint: its port, and how to read it. The job is named
    `app.kubernetes.io/name`, as the alerts expect.
    """
    specs: dict[str, dict[str, Any]] = {
        "ServiceMonitor": {
            "jobLabel": "app.kubernetes.io/name",
            "selector": {"matchLabels": labels},
            "endpoints": [{"interval": "15s", **endpoint}],
        },
        "PrometheusRule": yaml.load(alert_rules(alerts).read_text(), yaml.CSafeLoader),
    }
    for kind, spec in specs.items():
        k8s.apiextensions.CustomResource(
            f"{name}-{kind}".lower(),
            api_version="monitoring.coreos.com/v1",
            kind=kind,
            metadata=metadata,
            spec=spec,
            opts=opts,
        )
