"""Who may talk to the saturation server, and to whom it may talk."""

from collections.abc import Sequence

import pulumi_kubernetes as k8s

from components.monitored import DNS, in_namespace, prometheus
from components.platform.keda import NAMESPACE as KEDA_NAMESPACE
from components.saturation.pods import LABELS

__all__ = ["policy"]


def policy(
    monitoring: str,
    broker: Sequence[k8s.networking.v1.NetworkPolicyPeerArgsDict],
    broker_ports: Sequence[int],
) -> k8s.networking.v1.NetworkPolicySpecArgsDict:
    """In: KEDA's namespace, and Prometheus in `monitoring`. Out: the broker and the cluster's DNS."""
    return {
        "pod_selector": {"match_labels": LABELS},
        "policy_types": ["Ingress", "Egress"],
        "ingress": [
            {
                "from_": [in_namespace(KEDA_NAMESPACE), prometheus(monitoring)],
                "ports": [{"port": "https", "protocol": "TCP"}],
            }
        ],
        "egress": [
            {
                "to": list(broker),
                "ports": [{"port": port, "protocol": "TCP"} for port in broker_ports],
            },
            DNS,
        ],
    }
