"""Every object of a fleet on a real API server, taken strictly; and the pods that its templates make."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from kubernetes import client, config

from lab.control_plane import TOOLS, ScratchControlPlane, scratch_control_plane
from surge.model import Catalogue
from surge.policy.gpu import guard_objects
from tests.engine.drawn import STACK, catalogues
from tests.engine.fleet_program import fleet, manifests
from tests.engine.recording import record

pytestmark = pytest.mark.local

BASE_PORT = 23_800
ROOT = Path(__file__).parents[2]
KEDA_DEFINITIONS = TOOLS.parent / "keda" / "crd" / "bases"
KINDS = {
    "Deployment": ("apis/apps/v1", "deployments"),
    "Namespace": ("api/v1", "namespaces"),
    "PersistentVolume": ("api/v1", "persistentvolumes"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "PriorityClass": ("apis/scheduling.k8s.io/v1", "priorityclasses"),
    "ScaledJob": ("apis/keda.sh/v1alpha1", "scaledjobs"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "Secret": ("api/v1", "secrets"),
}


LIST = {"apiVersion": "v1", "kind": "List"}
OBJECTS = manifests(record(fleet(Catalogue.read(ROOT / "filters.yaml", STACK).filters, STACK)))
# Where a workload keeps the template of its pods.
TEMPLATES = {"Deployment": ("spec",), "ScaledJob": ("spec", "jobTargetRef")}


def template(workload: dict[str, Any]) -> dict[str, Any]:
    for key in TEMPLATES[workload["kind"]]:
        workload = workload[key]
    return workload["template"]


WORKLOADS = [item for item in OBJECTS if item["kind"] in TEMPLATES]


class Server:
    """What a real API server says to an object that it is only asked about."""

    def __init__(self, plane: ScratchControlPlane) -> None:
        self.api = config.new_client_from_config(str(plane.kubeconfig_path))
        self.core = client.CoreV1Api(self.api)

    def refuses(self, item: dict[str, Any]) -> str:
        """Its refusal, or its warnings; nothing when it takes the object."""
        root, plural = KINDS[item["kind"]]
        namespace, name = item["metadata"].get("namespace"), item["metadata"]["name"]
        place = f"namespaces/{namespace}/{plural}" if namespace else plural
        asked = {"fieldManager": "test", "force": "true"}
        return self._refuses("PATCH", f"/{root}/{place}/{name}", item, asked)

    def refuses_pod(self, template: dict[str, Any]) -> str:
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {**template["metadata"], "generateName": "one-"}
        return self._refuses("POST", "/api/v1/namespaces/filters/pods", pod, {})

    def _refuses(self, method: str, path: str, item: dict[str, Any], query: dict[str, str]) -> str:
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        asked = urlencode({"dryRun": "All", "fieldValidation": "Strict", **query})
        answer = self.api.call_api(
            method,
            f"{self.api.configuration.host}{path}?{asked}",
            {"Content-Type": kind, "Accept": "application/json"},
            json.dumps(item) if method == "PATCH" else item,
        )
        body = json.loads(answer.read())
        return answer.headers.get("Warning", "") if answer.status < 300 else body["message"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with scratch_control_plane(BASE_PORT) as plane:
        kubectl(plane, "apply", "--server-side", "-f", str(KEDA_DEFINITIONS))
        kubectl(plane, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}}
        shared = [item for item in OBJECTS if item["kind"] in {"Namespace", "PriorityClass"}]
        needed = [{**runtime, "handler": "nvidia"}, *guard_objects(STACK.cluster.gpu_pools, None), *shared]
        kubectl(plane, "apply", "--server-side", "-f", "-", stdin=json.dumps({**LIST, "items": needed}))
        made = Server(plane)
        made.core.create_namespaced_service_account("filters", {"metadata": {"name": "default"}})
        yield made


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: f"{item['kind']}/{item['metadata']['name']}")
def test_the_api_server_takes_each_object_of_the_sample_catalogue(server, item):
    assert server.refuses(item) == ""


@pytest.mark.parametrize("item", WORKLOADS, ids=lambda item: item["metadata"]["name"])
def test_the_pods_of_the_sample_catalogue_pass_every_admission(server, item):
    """The restricted standard of their namespace, the policy for GPU shapes, priority and runtime classes."""
    assert server.refuses_pod(template(item)) == ""


def test_a_misspelt_field_and_a_pod_that_may_gain_rights_are_refused(server):
    [whole] = [item for item in WORKLOADS if item["metadata"]["name"] == "ghibli"]
    spelt = json.loads(json.dumps(whole).replace("readinessProbe", "readynessProbe"))
    assert "readynessProbe: field not declared in schema" in server.refuses(spelt)
    rich = json.loads(
        json.dumps(whole).replace('"allowPrivilegeEscalation": false', '"allowPrivilegeEscalation": true')
    )
    assert "violates PodSecurity" in server.refuses_pod(template(rich))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=catalogues())
def test_the_api_server_takes_whatever_passes_check(server, drawn):
    for item in manifests(record(fleet(drawn, STACK))):
        if item["kind"] in {"Deployment", "ScaledObject", "ScaledJob", "PodDisruptionBudget"}:
            assert server.refuses(item) == ""
        if item["kind"] in TEMPLATES:
            assert server.refuses_pod(template(item)) == ""


def kubectl(plane: ScratchControlPlane, *arguments: str, stdin: str = "") -> None:
    done = subprocess.run(
        [str(TOOLS / "kubectl"), f"--kubeconfig={plane.kubeconfig_path}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
