"""Plays series of metrics to real HorizontalPodAutoscalers and writes down what they made of them.

An API server of external metrics, behind the aggregator as KEDA's is. What is scaled is a custom
resource with a scale subresource and pods without a controller: nothing moves but the HPA.
"""

import json
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes import client

from providers.surge import pki
from surge.twin.hpa import Trigger

__all__ = ["Recorder", "Series", "Sync", "serving"]

NAMESPACE = "recorded"
GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
SCALED = ("lab.surge.dev", "v1", NAMESPACE, "scaleds")


@dataclass(frozen=True, kw_only=True)
class Series:
    """One autoscaler. samples: of each sync, one metric per trigger; None cannot be read.

    start: replicas before the first sync. ready, unready: pods, which do not follow the replicas.
    """

    triggers: Sequence[Trigger]
    samples: Sequence[Sequence[float | None]]
    behavior: Mapping[str, Any]
    start: int = 10
    ready: int = 0
    unready: int = 0
    minimum: int = 1
    maximum: int = 1000


class Sync(NamedTuple):
    """What the HPA read `at` a monotonic second, and the replicas that there were."""

    at: float
    metrics: Sequence[float | None]
    replicas: int


@dataclass
class Recorder:
    """syncs: by name of the series; the last one only tells what came of the one before."""

    api: client.ApiClient
    series: Mapping[str, Series]
    syncs: dict[str, list[Sync]] = field(default_factory=dict)
    _played: dict[str, int] = field(default_factory=dict)
    _done: dict[str, threading.Event] = field(init=False)

    def __post_init__(self) -> None:
        self._done = {name: threading.Event() for name in self.series}

    def play(self, patience_s: float) -> None:
        """Make pods and autoscalers and return when every series was played to its end."""
        for name, series in self.series.items():
            self._make_scaled(name, series)
        autoscaling = client.AutoscalingV2Api(self.api)
        for name, series in self.series.items():
            autoscaling.create_namespaced_horizontal_pod_autoscaler(NAMESPACE, _autoscaler(name, series))
        end = time.monotonic() + patience_s
        for name, done in self._done.items():
            assert done.wait(end - time.monotonic()), f"{name} never ended; seen: {self.syncs.get(name)}"

    def metric(self, metric: str) -> float | None:
        """The answer to one question of an HPA. The first trigger's is the first of a sync."""
        name, _, trigger = metric.rpartition(".")
        if trigger == "0" and not self._done[name].is_set():
            self._begin(name)
        return self.syncs[name][-1].metrics[int(trigger)]

    def _begin(self, name: str) -> None:
        objects, series = client.CustomObjectsApi(self.api), self.series[name]
        scaled: Any = objects.get_namespaced_custom_object(*SCALED, name)
        at, replicas = time.monotonic(), scaled["spec"]["replicas"]
        played = self._played.get(name, 0)
        if scaled["status"]["replicas"] != replicas:
            # The HPA has read the old status: it gets nothing to go by until it has read the new one.
            status = {"status": {"replicas": replicas}}
            objects.patch_namespaced_custom_object_status(*SCALED, name, status)
            metrics: Sequence[float | None] = [None] * len(series.triggers)
        else:
            metrics = series.samples[min(played, len(series.samples) - 1)]
            self._played[name] = played + 1
        self.syncs.setdefault(name, []).append(Sync(at, metrics, replicas))
        if played == len(series.samples):
            self._done[name].set()

    def _make_scaled(self, name: str, series: Series) -> None:
        core, objects = client.CoreV1Api(self.api), client.CustomObjectsApi(self.api)
        for number in range(series.ready + series.unready):
            state = "True" if number < series.ready else "False"
            pod = core.create_namespaced_pod(NAMESPACE, _pod(f"{name}-{number}", name))
            running = {"phase": "Running", "conditions": [{"type": "Ready", "status": state}]}
            core.patch_namespaced_pod_status(pod.metadata.name, NAMESPACE, {"status": running})
        group, version, *_ = SCALED
        body = {"apiVersion": f"{group}/{version}", "kind": "Scaled", "metadata": {"name": name}}
        objects.create_namespaced_custom_object(*SCALED, {**body, "spec": {"replicas": series.start}})
        status = {"status": {"replicas": series.start, "selector": f"series={name}"}}
        objects.patch_namespaced_custom_object_status(*SCALED, name, status)


@contextmanager
def serving(recorder: Recorder, folder: Path) -> Iterator[None]:
    """The recorder behind the aggregator of its API server."""
    ca = pki.authority("recorder", validity_days=7)
    pair = pki.certificate(
        "recorder",
        authority_certificate=ca.certificate,
        authority_key=ca.private_key,
        usages=["server"],
        validity_days=7,
        dns_names=[f"recorder.{NAMESPACE}.svc"],
    )
    (folder / "tls.pem").write_text(pair.certificate + pair.private_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(recorder))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        _register(recorder.api, server.server_port, ca.certificate)
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            prefix = f"/apis/{GROUP}/{VERSION}"
            path = self.path.partition("?")[0]
            if path == prefix:
                listed = {"kind": "APIResourceList", "groupVersion": f"{GROUP}/{VERSION}", "resources": []}
                self._answer(200, {"apiVersion": "v1", **listed})
            elif path.startswith(f"{prefix}/namespaces/{NAMESPACE}/"):
                self._answer_metric(path.rpartition("/")[2])
            else:
                self._answer(404, {})

        def _answer_metric(self, name: str) -> None:
            metric = recorder.metric(name)
            if metric is None:
                self._answer(503, {})
                return
            item = {"metricName": name, "timestamp": "2026-01-01T00:00:00Z", "value": str(metric)}
            metrics = {"kind": "ExternalMetricValueList", "apiVersion": f"{GROUP}/{VERSION}"}
            self._answer(200, {**metrics, "items": [{"metricLabels": {}, **item}]})

        def _answer(self, status: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler


def _register(api: client.ApiClient, port: int, ca: str) -> None:
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    service = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    core.create_namespaced_service(NAMESPACE, {"metadata": {"name": "recorder"}, "spec": service})
    client.ApiextensionsV1Api(api).create_custom_resource_definition(_definition())
    registration = {
        "service": {"name": "recorder", "namespace": NAMESPACE, "port": port},
        "group": GROUP,
        "version": VERSION,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "caBundle": b64encode(ca.encode()).decode(),
    }
    services = client.ApiregistrationV1Api(api)
    name = f"{VERSION}.{GROUP}"
    services.create_api_service({"metadata": {"name": name}, "spec": registration})
    _until(
        lambda: _is_true(services.read_api_service(name), "Available"), "the aggregator finds the recorder"
    )
    definitions = client.ApiextensionsV1Api(api)
    crd = f"{SCALED[3]}.{SCALED[0]}"
    _until(
        lambda: _is_true(definitions.read_custom_resource_definition(crd), "Established"), "the definition"
    )


def _is_true(item: Any, condition: str) -> bool:
    seen = item.status.conditions if item.status else None
    return any(each.type == condition and each.status == "True" for each in seen or [])


def _until(check: Any, what: str, patience_s: float = 60.0) -> None:
    end = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < end, f"never seen within {patience_s:g} s: {what}"
        time.sleep(0.1)


def _definition() -> dict[str, Any]:
    group, version, _, plural = SCALED
    fields = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": fields, "status": fields}}},
        "subresources": {"status": {}, "scale": scale},
    }
    names = {"plural": plural, "kind": "Scaled"}
    return {
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


def _pod(name: str, series: str) -> dict[str, Any]:
    """Nobody schedules it: its status is what the test says."""
    containers = [{"name": "worker", "image": "worker"}]
    return {
        "metadata": {"name": name, "labels": {"series": series}},
        "spec": {"schedulerName": "nobody", "containers": containers},
    }


def _autoscaler(name: str, series: Series) -> dict[str, Any]:
    group, version, *_ = SCALED
    metrics = []
    for number, (kind, target) in enumerate(series.triggers):
        wanted = {"type": kind, "value" if kind == "Value" else "averageValue": f"{target:.3f}"}
        metrics.append(
            {"type": "External", "external": {"metric": {"name": f"{name}.{number}"}, "target": wanted}}
        )
    return {
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": f"{group}/{version}", "kind": "Scaled", "name": name},
            "minReplicas": series.minimum,
            "maxReplicas": series.maximum,
            "metrics": metrics,
            "behavior": series.behavior,
        },
    }
