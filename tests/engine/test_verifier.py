"""The verifier of a real cluster, as the engine would be asked for it."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from components.monitored import alert_rules
from tests.engine.recording import RecordingMonitor, record
from tests.engine.saturation_program import IMAGE
from tests.engine.verifier_program import program


@pytest.fixture(scope="module")
def seen() -> RecordingMonitor:
    return record(program())


def inputs(seen: RecordingMonitor, kind: str) -> dict[str, Any]:
    [found] = [item.inputs for item in seen.resources.values() if item.token.endswith(f":{kind}")]
    return found


def test_all_it_may_do_is_list_and_watch_pods(seen):
    [rule] = inputs(seen, "ClusterRole")["rules"]
    assert (rule["apiGroups"], rule["resources"], rule["verbs"]) == ([""], ["pods"], ["list", "watch"])
    [subject] = inputs(seen, "ClusterRoleBinding")["subjects"]
    account = inputs(seen, "ServiceAccount")["metadata"]
    assert subject["name"] == f"system:serviceaccount:{account['namespace']}:{account['name']}"
    pod = inputs(seen, "Deployment")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["name"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    [container] = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["image"] == IMAGE


def test_prometheus_finds_it_and_gets_the_alerts_as_they_are_tested(seen):
    assert inputs(seen, "PrometheusRule")["spec"] == yaml.safe_load(alert_rules("pairs").read_text())
    monitor, service = inputs(seen, "ServiceMonitor")["spec"], inputs(seen, "Service")
    assert monitor["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "verifier"
    assert [port["name"] for port in service["spec"]["ports"]] == [monitor["endpoints"][0]["port"]]
    [incoming] = inputs(seen, "NetworkPolicy")["spec"]["ingress"]
    assert len(incoming["from"]) == 1


def test_no_field_is_unknown_to_the_schema(seen):
    for item in seen.resources.values():
        if (
            item.token.startswith("kubernetes:")
            and "monitoring" not in item.token
            and item.inputs.get("kind")
        ):
            kubernetes_validate.validate(item.inputs, "1.36", strict=True)


def test_an_image_by_tag_is_refused():
    with pytest.raises(ValueError, match="is not by digest"):
        record(program("registry.example/surge/saturation:latest"))
