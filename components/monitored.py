"""What a process of ours in a real cluster needs to be found by Prometheus, and with whom it may talk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import yaml

__all__ = ["API_SERVER", "DNS", "alert_rules", "in_namespace", "prometheus", "told_to_prometheus"]

Peer = k8s.networking.v1.NetworkPolicyPeerArgsDict
Egress = k8s.networking.v1.NetworkPolicyEgressRuleArgsDict


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
