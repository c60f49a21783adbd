"""The marking process on a real cluster: what it may do, what it is told, and what no object shows."""

import json
from typing import Any

import kubernetes_validate
import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.clusters.outputs import ClusterOutputs
from components.scale_in import ScaleIn, ScaleInArgs
from scale_in.settings import Settings as ProcessSettings
from tests.engine.fleet_program import manifests, settings
from tests.engine.recording import record

KUBERNETES = "1.36"
IMAGE = f"registry.example/surge/scale-in@sha256:{'0' * 64}"


def made(**more: Any) -> list[dict[str, Any]]:
    def run() -> ScaleIn:
        provider = k8s.Provider("one-kubernetes")
        cluster = ClusterOutputs(
            name="one",
            kubeconfig=pulumi.Output.from_input("{}"),
            kubernetes=provider,
            ready=[],
            node_pools={},
            storage_class=None,
            load_balancer_address="192.0.2.1",
            lifeline=provider,
            version=(1, 36),
        )
        usual: dict[str, Any] = {
            "cluster": cluster,
            "image": IMAGE,
            "settings": settings(scale_in={"leave": ["ghibli"]}),
            "filters": [],
            "filters_namespace": "filters",
            "namespace": "surge",
            "management": ["https://broker.rabbitmq.svc:15671"],
            "vhost": "surge",
            "credentials": pulumi.Output.secret("scale-in:hidden"),
            "authority": "PEM",
        }
        return ScaleIn("one", ScaleInArgs(**{**usual, **more}))

    return manifests(record(run))


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, Any]]:
    return {item["kind"]: item for item in made()}


def test_no_field_is_unknown_to_the_schema(objects):
    for item in objects.values():
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


def test_the_password_is_in_no_argument(objects):
    assert "hidden" not in json.dumps(objects["Deployment"])


def test_an_image_by_tag_is_refused():
    with pytest.raises(ValueError, match="not by digest"):
        made(image="registry.example/surge/scale-in:latest")
