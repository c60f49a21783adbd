"""GPU shapes as the objects of a stack: nodes of each pool, and pods that say what HAMi reads."""

import json

import pytest

from components.stack import build
from surge.model import Catalogue, Settings
from tests.engine.recording import RecordingMonitor, record

IMAGE = "registry.example/style@sha256:" + "0" * 64
POOLS = {"shared": {"kind": "shared", "nodes": 1}, "pairs": {"kind": "pairs", "nodes": 2, "slots": 4}}
SETTINGS = Settings.parse({"stack-kind": "local", "cluster": {"name": "one", "nodes": 2, "pools": POOLS}})
CATALOGUE = f"""
defaults:
  interactive: {{service-s: 2, min: 1, max: 4, longest-job-s: 60, owner: me}}
filters:
  whole: {{image: '{IMAGE}', gpus: 2}}
  alone: {{image: '{IMAGE}', gpu: {{pool: shared}}}}
  part: {{image: '{IMAGE}', gpu: {{memory-mib: 20000, cores: 30}}}}
  pair:
    image: '{IMAGE}'
    gpu: {{memory-mib: 16000, cores: 20, trainer: {{image: '{IMAGE}', memory-mib: 20000, cores: 25}}}}
  first:
    image: '{IMAGE}'
    gpu:
      memory-mib: 9000
      cores: 20
      trainer: {{image: '{IMAGE}', memory-mib: 9000, cores: 20, runs: first}}
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


def template(stack: RecordingMonitor, name: str) -> dict:
    return stack.named("kubernetes:apps/v1:Deployment", name).inputs["spec"]["template"]


def asked(container: dict) -> dict[str, str]:
    return container["resources"]["limits"]


def test_whole_gpus_ask_the_device_plugin_and_nobody_else(stack):
    whole = template(stack, "whole")
    [worker] = whole["spec"]["containers"]
    assert asked(worker) == {"nvidia.com/gpu": "2"}
    assert whole["spec"]["nodeSelector"] == {"surge.dev/pool": "gpu"}
    assert "tolerations" not in whole["spec"]
    assert whole["metadata"]["labels"]["hami.io/webhook"] == "ignore"
    assert not [key for key in whole["metadata"]["annotations"] if key.startswith("hami.io/")]


def test_a_whole_card_among_parts_is_asked_for_with_all_its_cores(stack):
    [worker] = template(stack, "alone")["spec"]["containers"]
    assert asked(worker) == {"nvidia.com/gpu": "1", "nvidia.com/gpucores": "100"}


def test_hami_places_what_shares_cards_and_the_clusters_scheduler_all_else(stack):
    schedulers = {
        name: template(stack, name)["spec"].get("schedulerName")
        for name in ("whole", "alone", "part", "pair", "first")
    }
    assert schedulers.pop("whole") is None
    assert set(schedulers.values()) == {"hami-scheduler"}
    files = stack.named("surge:local:Process", "one-kube-scheduler").inputs["files"]
    configuration = json.loads(files["value"]["config.json"])
    assert [each["schedulerName"] for each in configuration["profiles"]] == [
        "default-scheduler",
        "hami-scheduler",
    ]
    [extender] = configuration["extenders"]
    managed = {each["name"] for each in extender["managedResources"]}
    assert "nvidia.com/gpu" not in managed, "pods of whole cards would ask HAMi too"
    for name in ("alone", "part", "pair", "first"):
        assert any(managed & asked(each).keys() for each in template(stack, name)["spec"]["containers"])
    hami = stack.named("surge:local:Process", "one-hami").inputs
    assert extender["urlPrefix"].endswith(f":{int(hami['ports'][0])}")


def test_a_part_of_a_card_states_memory_and_cores(stack):
    part = template(stack, "part")
    [worker] = part["spec"]["containers"]
    assert asked(worker) == {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "20000", "nvidia.com/gpucores": "30"}
    assert part["spec"]["nodeSelector"] == {"surge.dev/pool": "shared"}


def test_a_long_lived_pair_is_two_containers_in_the_pool_of_pairs(stack):
    pair = template(stack, "pair")
    worker, trainer = pair["spec"]["containers"]
    assert (worker["name"], trainer["name"]) == ("worker", "trainer")
    assert asked(trainer) == {
        "nvidia.com/gpu": "1",
        "nvidia.com/gpumem": "20000",
        "nvidia.com/gpucores": "25",
    }
    assert pair["spec"]["nodeSelector"] == {"surge.dev/pool": "pairs"}
    assert pair["spec"]["tolerations"][0]["value"] == "pairs"
    assert pair["metadata"]["annotations"]["hami.io/gpu-scheduler-policy"] == "binpack"


def test_a_trainer_that_runs_first_is_an_init_container_that_asks_for_the_same(stack):
    spec = template(stack, "first")["spec"]
    [trainer], [worker] = spec["initContainers"], spec["containers"]
    assert asked(trainer) == asked(worker)
    assert spec["nodeSelector"] == {"surge.dev/pool": "shared"}


@pytest.mark.parametrize("name", ["pair", "first"])
def test_the_trainer_writes_and_the_worker_reads_the_handover(stack, name):
    spec = template(stack, name)["spec"]
    trainer, worker = [*spec.get("initContainers", []), *reversed(spec["containers"])]
    [written], [read] = (
        [mount for mount in each["volumeMounts"] if mount["name"] == "handover"] for each in (trainer, worker)
    )
    assert (written["readOnly"], read["readOnly"]) == (False, True)
    assert {"name": "handover", "emptyDir": {}} in spec["volumes"]


def test_the_verifier_finds_pairs_by_their_label(stack):
    marked = {
        name
        for name in ("whole", "part", "pair", "first")
        if template(stack, name)["metadata"]["labels"].get("surge.dev/gpu-shape") == "pair"
    }
    assert marked == {"pair", "first"}


def test_nodes_of_a_pool_register_their_cards_and_keep_others_away(stack):
    nodes = {item.inputs["metadata"]["name"]: item.inputs for item in stack.of("kubernetes:core/v1:Node")}
    assert set(nodes) == {"gpu-0", "gpu-1", "pairs-0", "pairs-1", "shared-0"}
    assert "spec" not in nodes["gpu-0"]
    cards = json.loads(nodes["pairs-0"]["metadata"]["annotations"]["hami.io/node-nvidia-register"])
    assert {(card["count"], card["devmem"]) for card in cards} == {(4, 81_920)}
    assert len({card["id"] for card in cards}) == 8
    assert nodes["pairs-0"]["spec"]["taints"] == [
        {"key": "surge.dev/pool", "value": "pairs", "effect": "NoSchedule"}
    ]


def test_workers_are_made_when_the_api_server_refuses_what_is_unsafe(stack):
    token = "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy"
    policy, binding = (
        next(item for item in stack.of(kind) if item.inputs["metadata"]["name"] == "surge-gpu-shapes")
        for kind in (token, f"{token}Binding")
    )
    assert binding.inputs["spec"]["policyName"] == policy.inputs["metadata"]["name"]
    awaited = stack.named("kubernetes:apps/v1:Deployment", "pair").dependencies
    needed = {urn for each in awaited for urn in stack.resources[each].dependencies}
    assert {policy.urn, binding.urn} <= needed
