"""The real KEDA operator and metrics adapter on a scratch control plane."""

import json
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from components.manifests import read
from lab.control_plane import TOOLS, ScratchControlPlane, write_private
from surge.policy import control_plane

__all__ = ["ScratchKeda"]

DEFINITIONS = TOOLS.parent / "keda"
FOLDERS = ("crd/bases", "general", "service_account", "rbac", "metrics-server")
# The stock ones are for an adapter that runs in a pod.
NOT_HERE = ("Deployment", "Service", "APIService")
USER, GROUP = "system:serviceaccount:keda:keda-operator", "system:serviceaccounts"
ADAPTER = "keda-metrics-apiserver"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
ENVIRONMENT = {
    "WATCH_NAMESPACE": "",
    "POD_NAMESPACE": "keda",
    "POD_NAME": "keda-scratch",
    "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda",
    "KEDA_HTTP_DEFAULT_TIMEOUT": "3000",
}


class ScratchKeda(ScratchControlPlane):
    """A control plane with KEDA. Its operator trusts no authority of ours: triggers must bring one."""

    PORTS = 11

    def start(self) -> None:
        super().start()
        self.apply(*_stock(), *self._adapter_service())
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        pair = self._pki.serve(["localhost", f"{ADAPTER}.keda.svc", "keda-operator.keda.svc"])
        commands = {"operator": control_plane.keda_operator, "adapter": control_plane.keda_adapter}
        for part, command in commands.items():
            folder = self._folder(f"keda-{part}")
            (folder / "ca").mkdir()
            (folder / "certs").mkdir()
            files = {"ca.crt": self._pki.ca, "tls.crt": pair.certificate, "tls.key": pair.private_key}
            for name, content in files.items():
                write_private(folder / "certs" / name, content)
            self._start(
                folder.name,
                command(str(TOOLS), self.ports),
                user=USER,
                groups=[GROUP],
                environment={**ENVIRONMENT, "KUBECONFIG": str(folder / "kubeconfig")},
            )
        self._until(lambda: b"resources" in self.get(EXTERNAL), "keda-adapter")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Return what kubectl prints. Raises RuntimeError with what it says against it."""
        done = subprocess.run(
            [str(TOOLS / "kubectl"), f"--kubeconfig={self.kubeconfig_path}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def apply(self, *objects: Mapping[str, Any]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def external_metric(self, namespace: str, scaled_object: str, metric: str) -> float:
        """What the HPA reads. Raises OSError when KEDA has no number."""
        selector = f"labelSelector=scaledobject.keda.sh%2Fname%3D{scaled_object}"
        answer = json.loads(self.get(f"{EXTERNAL}/namespaces/{namespace}/{metric}?{selector}"))
        return float(parse_quantity(answer["items"][0]["value"]))

    def operator_metrics(self) -> str:
        """What the operator tells Prometheus."""
        url = f"http://127.0.0.1:{self.ports.keda_operator_metrics}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()

    def _adapter_service(self) -> list[dict[str, Any]]:
        """By an ExternalName service the API server finds the adapter on loopback, and verifies its name."""
        port, authority = self.ports.keda_adapter, b64encode(self._pki.ca.encode()).decode()
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": ADAPTER, "namespace": "keda"},
                "spec": {
                    "type": "ExternalName",
                    "externalName": "localhost",
                    "ports": [{"name": "https", "port": port}],
                },
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
                "spec": {
                    "service": {"name": ADAPTER, "namespace": "keda", "port": port},
                    "group": "external.metrics.k8s.io",
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "caBundle": authority,
                },
            },
        ]


def _stock() -> list[Mapping[str, Any]]:
    documents = [item for folder in FOLDERS for item in read(DEFINITIONS / folder)]
    return [item for item in documents if item["kind"] not in NOT_HERE]
