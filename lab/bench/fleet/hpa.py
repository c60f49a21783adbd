"""How often the HPA really looks at each of 1,200 filters: with our number of workers, and the default.

The real controller-manager with nothing but its HPA controller, on a real API server; a metric server
of our own that answers after ANSWER_S and notes who was asked for when. The figure is the time
between two looks at one filter, p99 over all: the period (15 s) as long as the controller keeps up.
"""

import json
import ssl
import statistics
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes import client, config

from lab.bench import Row
from lab.bench.fleet.catalogue import COUNT
from lab.control_plane import TOOLS, ScratchControlPlane, scratch_control_plane, write_private
from surge.policy import control_plane

__all__ = ["rows"]

BASE_PORT = 27_000
NAMESPACE, SERVICE, METRIC = "filters", "metrics", "desired-workers"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
PERIOD_S = 15.0
# KEDA's operator asks the metric server while the HPA waits: 5 to 10 ms when all is well, and this when
# the machines are busy.
ANSWER_S = 0.1
# One period until all have been looked at, then three of them.
SETTLE_S, WATCHED_S = 20.0, 45.0
CLIENTS = 16
DEFAULT_WORKERS = 5


def rows() -> list[Row]:
    with scratch_control_plane(BASE_PORT, kind=_Autoscaled) as plane, _metric_server(plane) as looks:
        plane.furnish(COUNT)

        def p99(*arguments: str) -> float:
            with plane.autoscaler(*arguments):
                time.sleep(SETTLE_S)
                looks.clear()
                time.sleep(WATCHED_S)
                return _p99(looks, WATCHED_S)

        ours, default = p99(), p99(f"--concurrent-horizontal-pod-autoscaler-syncs={DEFAULT_WORKERS}")
    return [Row(name="hpa_sync_p99_s", unit="s", ours=ours, peer=default, runs=[ours])]


class _Autoscaled(ScratchControlPlane):
    """A control plane with an HPA controller that comes and goes."""

    PORTS = 11

    @property
    def metrics_port(self) -> int:
        return self.ports.keda_adapter

    @property
    def serving(self) -> tuple[str, str]:
        """Certificate and key of the metric server."""
        issued = self._pki.serve(["localhost", f"{SERVICE}.{NAMESPACE}.svc"])
        return issued.certificate, issued.private_key

    @contextmanager
    def autoscaler(self, *arguments: str) -> Iterator[None]:
        """arguments: after our own, which they override."""
        folder = self._folder("controller-manager")
        for name, content in self._pki.controller_files().items():
            write_private(folder / name, content)
        command = control_plane.controller_manager(
            str(TOOLS), self.ports, hpa_sync_s=PERIOD_S, hpa_down_window_s=300
        )
        own = [part for part in command if not part.startswith("--controllers=")]
        self._start(
            "controller-manager",
            [*own, "--controllers=horizontal-pod-autoscaler-controller", *arguments],
            user="system:kube-controller-manager",
        )
        try:
            yield
        finally:
            self._end("controller-manager")

    def furnish(self, count: int) -> None:
        """`count` Deployments, each with an HPA of one external metric."""
        with (
            config.new_client_from_config(str(self.kubeconfig_path)) as api,
            ThreadPoolExecutor(CLIENTS) as pool,
        ):
            core, apps, scaling = client.CoreV1Api(api), client.AppsV1Api(api), client.AutoscalingV2Api(api)
            objects: Any = client.CustomObjectsApi(api)
            namespace: Any = {"metadata": {"name": NAMESPACE}}
            core.create_namespace(namespace)
            core.create_namespaced_service(NAMESPACE, _service(self.metrics_port))
            objects.create_cluster_custom_object(
                "apiregistration.k8s.io", "v1", "apiservices", _api_service(self.metrics_port, self._pki.ca)
            )

            def one(number: int) -> None:
                name = f"filter-{number:04d}"
                apps.create_namespaced_deployment(NAMESPACE, _deployment(name))
                scaling.create_namespaced_horizontal_pod_autoscaler(NAMESPACE, _autoscaler(name))

            list(pool.map(one, range(count)))
            self._until(lambda: b"resources" in self.get(EXTERNAL), "apiserver")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a controller-manager that ends hangs up in the middle of its questions."""


@contextmanager
def _metric_server(plane: _Autoscaled) -> Iterator[dict[str, list[float]]]:
    """Serve the same value for every filter; yields the times of the questions, by filter."""
    looks: dict[str, list[float]] = {}

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if not url.path.startswith(EXTERNAL):
                self._answer(404, {})
            elif url.path == EXTERNAL:
                self._answer(200, {"kind": "APIResourceList", "groupVersion": EXTERNAL[6:], "resources": []})
            else:
                [selector] = parse_qs(url.query)["labelSelector"]
                looks.setdefault(selector, []).append(time.monotonic())
                time.sleep(ANSWER_S)
                self._answer(200, _value())

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
            """Nothing: 80 lines a second."""

    server = _Server(("127.0.0.1", plane.metrics_port), Answers)
    certificate, key = plane.serving
    files = plane.directory / "metrics.pem"
    write_private(files, certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield looks
    finally:
        server.shutdown()
        server.server_close()


def _p99(looks: dict[str, list[float]], watched_s: float) -> float:
    """Of the times between two looks; a filter that was looked at less than twice waited for all of it, so
    no figure is above `watched_s`."""
    waits = [after - before for times in looks.values() for before, after in pairwise(times)]
    waits += [watched_s] * (COUNT - sum(len(times) > 1 for times in looks.values()))
    return round(statistics.quantiles(waits, n=100)[98], 2)


def _value() -> dict[str, Any]:
    item = {"metricName": METRIC, "timestamp": time.strftime("%FT%TZ", time.gmtime()), "value": "1"}
    return {"kind": "ExternalMetricValueList", "apiVersion": EXTERNAL[6:], "items": [item]}


def _deployment(name: str) -> Any:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "worker", "image": "worker"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    return {"metadata": {"name": name}, "spec": spec}


def _autoscaler(name: str) -> Any:
    metric = {"name": METRIC, "selector": {"matchLabels": {"filter": name}}}
    external = {"metric": metric, "target": {"type": "AverageValue", "averageValue": "1"}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10}
    return {
        "metadata": {"name": name},
        "spec": {**spec, "metrics": [{"type": "External", "external": external}]},
    }


def _service(port: int) -> Any:
    """By an ExternalName service the API server finds the metric server on loopback."""
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"name": "https", "port": port}]}
    return {"metadata": {"name": SERVICE}, "spec": spec}


def _api_service(port: int, authority: str) -> Any:
    group, version = EXTERNAL[6:].split("/")
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{group}"},
        "spec": {
            "service": {"name": SERVICE, "namespace": NAMESPACE, "port": port},
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": b64encode(authority.encode()).decode(),
        },
    }
