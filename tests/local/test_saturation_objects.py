"""Objects of the saturation server, the verifier, the marking process and a page in docs/, on a real API
server: taken strictly.

The Prometheus operator's own definitions are not here: its two kinds get a schema of what we write.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lab.control_plane import TOOLS, ScratchControlPlane, scratch_control_plane
from surge.policy import scaling
from tests.engine.recording import record
from tests.engine.saturation_program import program
from tests.engine.scale_in_program import program as scale_in_program
from tests.engine.verifier_program import program as verifier_program

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
    for each in (program(), verifier_program(), scale_in_program())
    for item in record(each).resources.values()
    if item.token.startswith("kubernetes:")
]


PAGE = (Path(__file__).parents[2] / "docs" / "which-number-for-keda.md").read_text()
DOCUMENTED = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture(scope="module")
def plane() -> Iterator[ScratchControlPlane]:
    with scratch_control_plane(BASE_PORT) as running:
        kubectl(running, "apply", "--server-side", "-f", str(KEDA_DEFINITIONS), "-f", str(MONITORING))
        for name in ("keda", "filters"):
            kubectl(running, "create", "namespace", name)
        namespace = next(item for item in OBJECTS if item["kind"] == "Namespace")
        kubectl(running, "apply", "--server-side", "-f", "-", stdin=namespace)
        kubectl(running, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield running


@pytest.mark.parametrize(
    "item", OBJECTS + DOCUMENTED, ids=lambda item: f"{item['kind']}/{item['metadata']['name']}"
)
def test_the_api_server_takes_it_as_it_is_written(plane, item):
    kubectl(plane, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=item)


@pytest.mark.parametrize(
    "item",
    [item for item in OBJECTS if "." not in item["apiVersion"] or item["apiVersion"].endswith("k8s.io/v1")],
    ids=lambda item: item["kind"],
)
def test_no_field_is_unknown_to_the_schema(item):
    kubernetes_validate.validate(item, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", ["saturation", "verifier", "scale-in"])
def test_its_pods_meet_the_restricted_standard_that_its_namespace_enforces(plane, name):
    [template] = [
        item["spec"]["template"]
        for item in OBJECTS
        if (item["kind"], item["metadata"]["name"]) == ("Deployment", name)
    ]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "one", "namespace": "surge"}
    kubectl(plane, "create", "--dry-run=server", "-f", "-", stdin=pod)
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        kubectl(plane, "create", "--dry-run=server", "-f", "-", stdin=pod)


def test_the_page_shows_what_a_filter_gets():
    _, demand, ratio = (item["spec"] for item in DOCUMENTED)
    reading = scaling.Reading(
        "https://saturation.surge.svc:8443/v1/filters/ghibli", "saturation", "bearer,tls"
    )
    assert shown(demand["triggers"]) == shown(scaling.demand_triggers(reading))
    ours = scaling.ratio_triggers(reading, target=0.7, service_s=8, slots=1, drain_s=60)
    assert shown(ratio["triggers"]) == shown(ours)
    assert demand["fallback"] == ratio["fallback"] == scaling.fallback(2)


def shown(triggers: list[dict[str, Any]]) -> list[Any]:
    """What the page shows of a trigger: no default, and the target as a number."""
    return [
        (
            item["type"],
            item["metricType"],
            item["authenticationRef"],
            float(item["metadata"]["targetValue"]),
            {key: item["metadata"][key] for key in ("url", "valueLocation", "authModes")},
        )
        for item in triggers
    ]


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
