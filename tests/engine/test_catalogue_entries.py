"""What an entry of the catalogue becomes in a stack, key by key."""

import json

import pytest

from components.stack import build
from surge.model import Catalogue, Settings
from tests.engine.recording import RecordingMonitor, record

IMAGE = "registry.example/style@sha256:" + "0" * 64
SETTINGS = Settings.parse({"stack-kind": "local", "time-factor": 10, "cluster": {"name": "one", "nodes": 9}})
CATALOGUE = f"""
defaults:
  interactive: {{service-s: 2, min: 1, max: 20, longest-job-s: 60, owner: me}}
filters:
  plain: {{image: '{IMAGE}'}}
  steered: {{image: '{IMAGE}', signal: ratio, target: auto}}
  bounded:
    image: '{IMAGE}'
    queue-options: {{delivery-limit: 3, max-length: 1000, message-ttl-s: 600}}
  elsewhere: {{image: '{IMAGE}', runs-in: [cloud]}}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> RecordingMonitor:
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("crd/bases", "general", "service_account", "rbac", "metrics-server"):
        place = root / ".tools" / "keda" / folder
        place.mkdir(parents=True)
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": folder[:3]}}
        (place / "object.yaml").write_text(json.dumps(document))
    file = root / "filters.yaml"
    file.write_text(CATALOGUE)
    return record(lambda: build(SETTINGS, Catalogue.read(file, SETTINGS), root=root))


def arguments(stack: RecordingMonitor, queue: str) -> dict:
    [topology] = stack.of("surge:broker:Topology")
    [found] = [each for each in topology.inputs["queues"] if each["name"] == queue]
    return found["arguments"]


def test_an_automatic_target_is_a_number_by_the_filters_size(stack):
    [ratio, _] = stack.named("kubernetes:keda.sh/v1alpha1:ScaledObject", "steered").inputs["spec"]["triggers"]
    assert ratio["metadata"]["targetValue"] == "0.588"


def test_queue_options_are_a_policy_of_the_queue_in_the_brokers_units(stack):
    assert arguments(stack, "filter.bounded") == arguments(stack, "filter.plain")
    [topology] = stack.of("surge:broker:Topology")
    policies = {each["name"]: each for each in topology.inputs["policies"]}
    limits = {"delivery-limit": 3, "max-length": 1000, "message-ttl": 60_000}
    assert policies["filter.bounded"]["definition"] == limits
    assert policies["filter.bounded"]["pattern"] == r"^filter\.bounded$"
    assert policies["filters"]["definition"] == {"delivery-limit": 5}
    assert "filter.plain" not in policies


def test_a_filter_of_other_machines_has_its_queue_here_and_no_workers(stack):
    workers = {each.name for each in stack.of("kubernetes:apps/v1:Deployment")}
    assert workers == {"plain", "steered", "bounded"}
    assert arguments(stack, "filter.elsewhere")
