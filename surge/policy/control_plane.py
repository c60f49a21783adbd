"""Command lines of a control plane that runs as plain processes on loopback.

Each function returns an argument list; `{dir}` stands for the process's own folder, into
which its files are written, and `{root}` for the cluster's directory. No secret is ever an
argument: keys and kubeconfigs are files.
"""

import json

from surge.policy.gpu.protocol import SCHEDULER
from surge.policy.gpu.shapes import CORES, MEMORY
from surge.policy.ports import Ports

__all__ = [
    "API_SERVER_NAMES",
    "apiserver",
    "controller_manager",
    "etcd",
    "keda_adapter",
    "keda_operator",
    "kubeconfig",
    "kwok",
    "scheduler",
    "scheduler_configuration",
]

SERVICE_CIDR = "10.96.0.0/16"
API_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")

# KWOK renews leases every quarter of this. The controller-manager calls a node lost after
# its grace period: it must outlive an API server that is down for a minute, or every worker
# turns NotReady at once.
NODE_LEASE_S = 80
NODE_GRACE_S = 240

# A controller-manager's HPA looks at every filter once in a sync period, and a look takes as long as
# KEDA's answer. Little's law for 1,200 filters in 15 s, 80 looks a second: the default of 5 workers
# keeps up with answers of up to 60 ms, and 20 with a quarter of a second. Each look reads the scale
# and may write the status: the default of 20 requests a second would let it come once a minute.
HPA_WORKERS = 20
MANAGER_QPS = 100

# The adapter asks the API server whether the HPA may read a filter, for each filter anew when its answer is
# this old: at the default of 10 s 1,200 filters cost 120 questions a second.
AUTHORIZED_S = 300


def etcd(tools: str, ports: Ports) -> list[str]:
    """Beside it lie tls.crt, tls.key and ca.crt: only certificates of that authority are let in."""
    client, peer = (f"https://127.0.0.1:{port}" for port in (ports.etcd_client, ports.etcd_peer))
    return [
        f"{tools}/etcd",
        "--name=local",
        "--data-dir={dir}/data",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        *_mutual_tls("--"),
        *_mutual_tls("--peer-"),
        "--auto-compaction-retention=10m",
        "--log-level=warn",
    ]


def apiserver(tools: str, ports: Ports) -> list[str]:
    # No --enable-aggregator-routing: with it the API server refuses the ExternalName service
    # by which it finds KEDA's metrics adapter on loopback.
    return [
        f"{tools}/kube-apiserver",
        f"--etcd-servers=https://127.0.0.1:{ports.etcd_client}",
        "--etcd-cafile={dir}/etcd-ca.crt",
        "--etcd-certfile={dir}/etcd-client.crt",
        "--etcd-keyfile={dir}/etcd-client.key",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.apiserver}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--tls-cert-file={dir}/tls.crt",
        "--tls-private-key-file={dir}/tls.key",
        "--client-ca-file={dir}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-signing-key-file={dir}/service-accounts.key",
        "--service-account-key-file={dir}/service-accounts.crt",
        "--requestheader-client-ca-file={dir}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--proxy-client-cert-file={dir}/front-proxy-client.crt",
        "--proxy-client-key-file={dir}/front-proxy-client.key",
        "--endpoint-reconciler-type=none",
        "--disable-admission-plugins=ServiceAccount",
        # A watch that lingers keeps a stopping API server alive for the default 60 s.
        "--shutdown-delay-duration=0s",
        "--min-request-timeout=15",
    ]


def controller_manager(tools: str, ports: Ports, *, hpa_sync_s: float, hpa_down_window_s: float) -> list[str]:
    """hpa_sync_s, hpa_down_window_s: wall seconds between two looks of the HPA, its default down window."""
    return [
        f"{tools}/kube-controller-manager",
        *_kubeconfigs(),
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.controller_manager}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        "--service-account-private-key-file={dir}/service-accounts.key",
        "--root-ca-file={dir}/ca.crt",
        "--controllers=*,-nodeipam",
        f"--node-monitor-grace-period={NODE_GRACE_S}s",
        f"--horizontal-pod-autoscaler-sync-period={_duration(hpa_sync_s)}",
        f"--horizontal-pod-autoscaler-downscale-stabilization={_duration(hpa_down_window_s)}",
        "--horizontal-pod-autoscaler-initial-readiness-delay=0s",
        f"--concurrent-horizontal-pod-autoscaler-syncs={HPA_WORKERS}",
        f"--kube-api-qps={MANAGER_QPS}",
        f"--kube-api-burst={2 * MANAGER_QPS}",
    ]


def scheduler(tools: str, ports: Ports) -> list[str]:
    """Beside it lies config.json, see `scheduler_configuration`."""
    return [
        f"{tools}/kube-scheduler",
        "--config={dir}/config.json",
        *_kubeconfigs()[1:],
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.scheduler}",
    ]


def scheduler_configuration(hami: str | None) -> str:
    """A KubeSchedulerConfiguration in JSON. hami: address of HAMi's extender, such as http://127.0.0.1:21020.

    HAMi runs a second kube-scheduler; here it is a second profile of the one. Extenders are common to all
    profiles and pods of whole cards must not meet HAMi's, so it is asked for pods with a part of a card
    alone: memory or cores. Cards and slots are counted by both.
    """
    configuration: dict[str, object] = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": "kubeconfig"},
        "leaderElection": {"leaderElect": False},
    }
    if hami is not None:
        configuration["profiles"] = [{"schedulerName": "default-scheduler"}, {"schedulerName": SCHEDULER}]
        configuration["extenders"] = [
            {
                "urlPrefix": hami,
                "filterVerb": "filter",
                "bindVerb": "bind",
                "nodeCacheCapable": True,
                "weight": 1,
                "httpTimeout": "30s",
                "managedResources": [{"name": name, "ignoredByScheduler": True} for name in (MEMORY, CORES)],
            }
        ]
    return json.dumps(configuration, indent=1)


def kwok(tools: str, ports: Ports) -> list[str]:
    return [
        f"{tools}/kwok",
        "--kubeconfig={dir}/kubeconfig",
        "--config={dir}/stages.yaml",
        "--manage-all-nodes",
        "--cidr=10.244.0.0/16",
        "--node-ip=127.0.0.1",
        f"--node-lease-duration-seconds={NODE_LEASE_S}",
        f"--server-address=127.0.0.1:{ports.kwok}",
    ]


def keda_operator(tools: str, ports: Ports) -> list[str]:
    return [
        f"{tools}/keda-operator",
        "--kubeconfig={dir}/kubeconfig",
        "--leader-elect=false",
        "--enable-cert-rotation=false",
        "--cert-dir={dir}/certs",
        "--ca-dir={dir}/ca",
        f"--metrics-bind-address=127.0.0.1:{ports.keda_operator_metrics}",
        f"--health-probe-bind-address=127.0.0.1:{ports.keda_operator_health}",
        f"--metrics-service-bind-address=127.0.0.1:{ports.keda_operator_grpc}",
        "--kube-api-qps=100",
        "--kube-api-burst=200",
        "--zap-log-level=info",
        "--zap-encoder=json",
        "--zap-time-encoding=rfc3339",
    ]


def keda_adapter(tools: str, ports: Ports) -> list[str]:
    return [
        f"{tools}/keda-adapter",
        "--lister-kubeconfig={dir}/kubeconfig",
        "--authentication-kubeconfig={dir}/kubeconfig",
        "--authorization-kubeconfig={dir}/kubeconfig",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.keda_adapter}",
        "--tls-cert-file={dir}/certs/tls.crt",
        "--tls-private-key-file={dir}/certs/tls.key",
        "--cert-dir={dir}/certs",
        f"--metrics-service-address=127.0.0.1:{ports.keda_operator_grpc}",
        f"--port={ports.keda_adapter_metrics}",
        f"--authorization-webhook-cache-authorized-ttl={AUTHORIZED_S}s",
        "--zap-log-level=info",
        "--zap-encoder=json",
    ]


def kubeconfig(server: str, ca: str, certificate: str, key: str, *, name: str) -> dict[str, object]:
    """A kubeconfig with everything inline. ca, certificate, key: base64 of PEM, as kubectl wants them."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": name, "user": {"client-certificate-data": certificate, "client-key-data": key}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def _mutual_tls(prefix: str) -> list[str]:
    return [
        f"{prefix}cert-file={{dir}}/tls.crt",
        f"{prefix}key-file={{dir}}/tls.key",
        f"{prefix}trusted-ca-file={{dir}}/ca.crt",
        f"{prefix}client-cert-auth",
    ]


def _kubeconfigs() -> list[str]:
    uses = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return [f"--{use}={{dir}}/kubeconfig" for use in uses]


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
