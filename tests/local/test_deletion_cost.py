"""The marks on pods, against a real API server with the real ReplicaSet controller and the real rights."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from lab.control_plane import TOOLS, ScratchControlPlane, scratch_control_plane
from surge.policy.scale_in import COST
from surge.policy.scale_in_rights import rights

pytestmark = pytest.mark.local

BASE_PORT, METRICS_PORT = 23_610, 23_650
ROOT = Path(__file__).parents[2]
USER = "scale-in"
SUBJECT = {"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}


class Management(BaseHTTPRequestHandler):
    """Stands for the broker's management API: `jobs` in hand, by pod."""

    jobs: dict[str, int]

    def do_GET(self) -> None:
        if self.path.startswith("/api/channels"):
            found = [
                {
                    "vhost": "surge",
                    "connection_details": {"name": f"{pod} -> broker"},
                    "consumer_count": 1,
                    "messages_unacknowledged": count,
                }
                for pod, count in Management.jobs.items()
            ]
        else:
            found = [{"name": f"{pod} -> broker", "user_provided_name": pod} for pod in Management.jobs]
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def plane() -> Iterator[ScratchControlPlane]:
    with scratch_control_plane(BASE_PORT, workloads=True) as running:
        kubectl(running, "create", "namespace", "filters")
        kubectl(running, "apply", "--server-side", "-f", "-", stdin=rights("filters", SUBJECT, USER))
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-0"}}
        kubectl(running, "apply", "-f", "-", stdin=[node])
        yield running


@pytest.fixture(scope="module")
def management() -> Iterator[str]:
    Management.jobs = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Management)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture
def process(plane, management, tmp_path) -> Iterator["subprocess.Popen[bytes]"]:
    settings = {
        "kubeconfig": "kubeconfig",
        "namespace": "filters",
        "management": [management],
        "vhost": "surge",
        "credentials": "credentials",
        "metrics_port": METRICS_PORT,
        "look_s": 0.2,
        "tick_s": 0.2,
        "patches_per_s": 500,
        "leave": ["left-alone"],
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "credentials").write_text("scale-in:none\n")
    (tmp_path / "kubeconfig").write_text(plane.kubeconfig_of(USER))
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "scale_in", "--config", str(tmp_path / "config.json")],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            stdout=log,
            stderr=log,
        )
    yield running
    running.terminate()
    assert running.wait(20) == 0, (tmp_path / "log").read_text()


def fleet(plane: ScratchControlPlane, name: str, size: int) -> list[str]:
    """A Deployment whose pods run, and an HPA that would remove some of them; the pods' names."""
    labels = {"surge.dev/filter": name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "filters"},
        "spec": {
            "replicas": size,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"keep": "me"}},
                "spec": {"containers": [{"name": "worker", "image": "registry.example/none"}]},
            },
        },
    }
    # The HPA has no metric here: it leaves the replicas to the test, and the condition where it is.
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "filters"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1,
            "maxReplicas": 50,
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "none"}, "target": {"type": "Value", "value": "1"}},
                }
            ],
        },
    }
    kubectl(plane, "apply", "-f", "-", stdin=[deployment, hpa])
    kubectl(plane, "-n", "filters", "rollout", "status", f"deployment/{name}", "--timeout=60s")
    condition = {
        "type": "ScalingLimited",
        "status": "True",
        "reason": "ScaleDownLimit",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    near = {"status": {"currentReplicas": size, "desiredReplicas": size, "conditions": [condition]}}
    kubectl(
        plane, "-n", "filters", "patch", "hpa", name, "--subresource=status", "--type=merge", "-p",
        json.dumps(near),
    )  # fmt: skip
    return [pod["metadata"]["name"] for pod in pods(plane, name)]


def pods(plane: ScratchControlPlane, name: str) -> list[dict[str, Any]]:
    """Those that nobody has deleted."""
    found = json.loads(
        kubectl(plane, "-n", "filters", "get", "pods", "-l", f"surge.dev/filter={name}", "-o", "json")
    )
    return [item for item in found["items"] if "deletionTimestamp" not in item["metadata"]]


def marked(plane: ScratchControlPlane, name: str) -> set[str]:
    return {
        pod["metadata"]["name"] for pod in pods(plane, name) if COST in pod["metadata"].get("annotations", {})
    }


def scale(plane: ScratchControlPlane, name: str, size: int) -> set[str]:
    """Scale in; the pods that are left."""
    kubectl(plane, "-n", "filters", "scale", f"deployment/{name}", f"--replicas={size}")
    eventually(lambda: len(pods(plane, name)) == size, f"{size} pods")
    return {pod["metadata"]["name"] for pod in pods(plane, name)}


def test_a_scale_in_takes_the_idle_and_spares_the_busy(plane, process):
    names = fleet(plane, "ghibli", 16)
    busy = set(names[::2])
    Management.jobs = {name: int(name in busy) for name in names}
    eventually(lambda: marked(plane, "ghibli") == set(names) - busy, "every idle pod marked")
    assert scale(plane, "ghibli", 8) == busy
    [kept] = {pod["metadata"]["annotations"]["keep"] for pod in pods(plane, "ghibli")}
    assert kept == "me"


def test_marks_follow_the_work_and_a_filter_that_is_to_be_left_alone_has_none(plane, process):
    names = fleet(plane, "sketch", 6)
    others = fleet(plane, "left-alone", 6)
    Management.jobs = {
        name: int(name == first) for each in (names, others) for name in each for first in (each[0],)
    }
    eventually(lambda: marked(plane, "sketch") == set(names[1:]), "the five idle ones marked")
    Management.jobs |= dict.fromkeys(names[1:], 1) | {names[0]: 0}
    eventually(lambda: marked(plane, "sketch") == {names[0]}, "the marks moved")
    assert marked(plane, "left-alone") == set()
    page = metrics()
    assert page["surge_scale_in_near"] >= 1
    assert page['surge_scale_in_patches_total{change="mark"}'] >= 6


def test_an_api_server_that_was_away_finds_it_at_work_again(plane, process):
    names = fleet(plane, "clay", 4)
    Management.jobs = {name: int(name == names[0]) for name in names}
    eventually(lambda: marked(plane, "clay") == set(names[1:]), "three marks")
    plane.stop_apiserver()
    eventually(lambda: metrics()['surge_scale_in_errors_total{of="api"}'] >= 2, "two rounds that failed")
    plane.start_apiserver()
    Management.jobs = {name: int(name != names[0]) for name in names}
    eventually(lambda: marked(plane, "clay") == {names[0]}, "the marks moved")


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"containers": [{"name": "worker", "image": "registry.example/evil"}]}},
        {"metadata": {"labels": {"surge.dev/filter": "other"}}},
        {"metadata": {"annotations": {"other": "value"}}},
        {"metadata": {"annotations": {"keep": None}}},
        {"metadata": {"ownerReferences": None}},
        {"metadata": {"finalizers": ["surge.dev/never"]}},
    ],
    ids=lambda change: "-".join(str(part) for part in next(iter(change.values()))),
)
def test_its_user_may_change_nothing_but_the_cost(plane, tmp_path, change):
    [name, *_] = fleet(plane, "guarded", 1)
    (tmp_path / "kubeconfig").write_text(plane.kubeconfig_of(USER))

    core = client.CoreV1Api(config.new_client_from_config(str(tmp_path / "kubeconfig")))
    with pytest.raises(ApiException, match="may change the annotation"):
        core.patch_namespaced_pod(name, "filters", change)
    core.patch_namespaced_pod(name, "filters", {"metadata": {"annotations": {COST: "-1"}}})


def eventually(check: Callable[[], bool], what: str, patience_s: float = 60) -> None:
    end = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < end, f"never seen within {patience_s:g} s: {what}"
        time.sleep(0.2)


def metrics() -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def kubectl(
    plane: ScratchControlPlane,
    *arguments: str,
    stdin: list[Any] | None = None,
) -> str:
    done = subprocess.run(
        [str(TOOLS / "kubectl"), f"--kubeconfig={plane.kubeconfig_path}", *arguments],
        input=None if stdin is None else yaml.safe_dump_all(stdin),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
