"""Every object of the saturation server on a real API server: taken strictly, and by the restricted standard.

The Prometheus operator's own definitions are not here: its two kinds get a schema of what we write.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lab.control_plane import TOOLS, ScratchControlPlane, scratch_control_plane
from tests.engine.recording import record
from tests.engine.saturation_program import program

pytestmark = pytest.mark.local

BASE_PORT = 23_330
KUBERNETES = "1.36"
KEDA_DEFINITIONS = TOOLS.parent / "keda" / "crd" / "bases"
MONITORING = Path(__file__).with_name("monitoring_definitions.yaml")


def manifest(inputs: dict[str, Any]) -> dict[str, Any]:
    """What the engine would send: its inputs, without the wrapping of secrets."""
    return json.loads(json.dumps(inputs), object_hook=lambda item: item.get("value", item))


OBJECTS = [
    manifest(item.inputs)
    for item in record(program()).resources.values()
    if item.token.startswith("kubernetes:")
]


@pytest.fixture(scope="module")
def plane() -> Iterator[ScratchControlPlane]:
    with scratch_control_plane(BASE_PORT) as running:
        kubectl(running, "apply", "--server-side", "-f", str(KEDA_DEFINITIONS), "-f", str(MONITORING))
        kubectl(running, "create", "namespace", "keda")
        namespace = next(item for item in OBJECTS if item["kind"] == "Namespace")
        kubectl(running, "apply", "--server-side", "-f", "-", stdin=namespace)
        kubectl(running, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield running


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: f"{item['kind']}/{item['metadata']['name']}")
def test_the_api_server_takes_it_as_it_is_written(plane, item):
    kubectl(plane, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=item)


@pytest.mark.parametrize(
    "item",
    [item for item in OBJECTS if "." not in item["apiVersion"] or item["apiVersion"].endswith("k8s.io/v1")],
    ids=lambda item: item["kind"],
)
def test_no_field_is_unknown_to_the_schema(item):
    kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_its_pods_meet_the_restricted_standard_that_its_namespace_enforces(plane):
    template = next(item for item in OBJECTS if item["kind"] == "Deployment")["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "one", "namespace": "surge"}
    kubectl(plane, "create", "--dry-run=server", "-f", "-", stdin=pod)
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        kubectl(plane, "create", "--dry-run=server", "-f", "-", stdin=pod)


def kubectl(plane: ScratchControlPlane, *arguments: str, stdin: Any = None) -> None:
    done = subprocess.run(
        [str(TOOLS / "kubectl"), f"--kubeconfig={plane.kubeconfig_path}", *arguments],
        input=None if stdin is None else yaml.safe_dump(stdin),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
