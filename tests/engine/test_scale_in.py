"""The marking process on a real cluster: what it may do, what it is told, and what no object shows."""

import json
from typing import Any

import kubernetes_validate
import pytest
import yaml

from components.monitored import alert_rules
from scale_in.settings import Settings as ProcessSettings
from tests.engine.fleet_program import manifests, settings
from tests.engine.recording import record
from tests.engine.scale_in_program import program

KUBERNETES = "1.36"


def made(**changes: Any) -> list[dict[str, Any]]:
    return manifests(record(program(**changes)))


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, Any]]:
    return {item["kind"]: item for item in made()}


def test_no_field_is_unknown_to_the_schema(objects):
    for item in objects.values():
        if not item["apiVersion"].startswith("monitoring."):
            kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_the_process_understands_what_it_is_told(objects, tmp_path):
    files = objects["Secret"]["stringData"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    told = ProcessSettings.read(tmp_path / "config.json")
    assert (told.leave, told.look_s, told.ca) == (("ghibli",), 15, tmp_path / "ca.crt")
    assert json.loads(files["kubeconfig"])["users"][0]["user"] == {
        "tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"
    }


def test_the_api_server_compares_what_its_own_account_sends(objects):
    [condition] = objects["ValidatingAdmissionPolicy"]["spec"]["matchConditions"]
    assert "'system:serviceaccount:surge:scale-in'" in condition["expression"]
    [subject] = objects["RoleBinding"]["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "scale-in", "namespace": "surge"}
    assert objects["Role"]["metadata"]["namespace"] == "filters"


def test_prometheus_finds_it_and_gets_the_alerts_as_they_are_tested(objects):
    assert objects["PrometheusRule"]["spec"] == yaml.safe_load(alert_rules("scale-in").read_text())
    monitor, service = objects["ServiceMonitor"]["spec"], objects["Service"]
    assert monitor["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "scale-in"
    assert [port["name"] for port in service["spec"]["ports"]] == [monitor["endpoints"][0]["port"]]


def test_it_talks_to_the_broker_the_api_server_and_dns_and_only_prometheus_to_it(objects):
    policy = objects["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == objects["Deployment"]["spec"]["selector"]["matchLabels"]
    [incoming] = policy["ingress"]
    assert [peer["podSelector"]["matchLabels"] for peer in incoming["from"]] == [
        {"app.kubernetes.io/name": "prometheus"}
    ]
    broker, *others = policy["egress"]
    assert broker["to"] == [{"ipBlock": {"cidr": "192.0.2.0/28"}}]
    assert [port["port"] for port in broker["ports"]] == [15671]
    assert {port["port"] for rule in others for port in rule["ports"]} == {443, 6443, 53}


def test_other_settings_replace_the_pod_and_a_new_password_does_not(objects):
    def config_of(**more: Any) -> str:
        [deployment] = [item for item in made(**more) if item["kind"] == "Deployment"]
        return deployment["spec"]["template"]["metadata"]["annotations"]["surge.dev/config"]

    before = objects["Deployment"]["spec"]["template"]["metadata"]["annotations"]["surge.dev/config"]
    assert config_of(settings=settings(scale_in={"leave": []})) != before
    assert config_of(credentials="scale-in:another") == before


def test_the_password_is_in_no_argument(objects):
    assert "hidden" not in json.dumps(objects["Deployment"])


def test_an_image_by_tag_is_refused():
    with pytest.raises(ValueError, match="not by digest"):
        made(image="registry.example/surge/scale-in:latest")
