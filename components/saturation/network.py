"""Who may talk to the saturation server, and to whom it may talk."""

from collections.abc import Sequence

import pulumi_kubernetes as k8s

from components.platform.keda import NAMESPACE as KEDA_NAMESPACE
from components.saturation.pods import LABELS

__all__ = ["policy"]


def policy(
    monitoring: str,
    broker: Sequence[k8s.networking.v1.NetworkPolicyPeerArgsDict],
    broker_ports: Sequence[int],
) -> k8s.networking.v1.NetworkPolicySpecArgsDict:
    """In: KEDA's namespace, and Prometheus in `monitoring`. Out: the broker and the cluster's DNS."""
    prometheus: k8s.networking.v1.NetworkPolicyPeerArgsDict = {
        **_namespace(monitoring),
        "pod_selector": {"match_labels": {"app.kubernetes.io/name": "prometheus"}},
    }
    dns: k8s.networking.v1.NetworkPolicyPeerArgsDict = {
        **_namespace("kube-system"),
        "pod_selector": {"match_labels": {"k8s-app": "kube-dns"}},
    }
    return {
        "pod_selector": {"match_labels": LABELS},
        "policy_types": ["Ingress", "Egress"],
        "ingress": [
            {
                "from_": [_namespace(KEDA_NAMESPACE), prometheus],
                "ports": [{"port": "https", "protocol": "TCP"}],
            }
        ],
        "egress": [
            {
                "to": list(broker),
                "ports": [{"port": port, "protocol": "TCP"} for port in broker_ports],
            },
            {"to": [dns], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        ],
    }


def _namespace(name: str) -> k8s.networking.v1.NetworkPolicyPeerArgsDict:
    return {"namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": name}}}
