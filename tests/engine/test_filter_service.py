"""What an entry of the catalogue becomes: its pods, what sizes them, and what its class shares."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from components.clusters.local import VERSION
from surge.model import Catalogue, Filter, Settings
from tests.engine.fleet_program import fleet, manifests, settings
from tests.engine.recording import RecordingMonitor, record

KUBERNETES = "1.36"
IMAGE = "registry.example/style@sha256:" + "0" * 64
ENTRIES = f"""
defaults:
  interactive: {{service-s: 2, min: 1, max: 4, longest-job-s: 60, owner: me}}
  batch: {{service-s: 2, min: 1, max: 4, longest-job-s: 60, slo-s: 900, owner: me}}
  scale-to-zero: {{service-s: 2, min: 0, max: 4, longest-job-s: 60, owner: me}}
filters:
  whole: {{image: '{IMAGE}'}}
  steered: {{image: '{IMAGE}', signal: ratio, target: 0.95}}
  usual: {{image: '{IMAGE}', signal: ratio}}
  part: {{image: '{IMAGE}', gpu: {{memory-mib: 20000, cores: 30}}}}
  pair:
    image: '{IMAGE}'
    gpu: {{memory-mib: 16000, cores: 20, trainer: {{image: '{IMAGE}', memory-mib: 20000, cores: 25}}}}
  night: {{image: '{IMAGE}', class: batch}}
  rare: {{image: '{IMAGE}', class: scale-to-zero}}
"""


@pytest.fixture(scope="module")
def filters(tmp_path_factory) -> tuple[Filter, ...]:
    file = tmp_path_factory.mktemp("catalogue") / "filters.yaml"
    file.write_text(ENTRIES)
    return Catalogue.read(file, settings()).filters


@pytest.fixture(scope="module")
def stack(filters) -> RecordingMonitor:
    return record(fleet(filters))


def deployment(stack: RecordingMonitor, name: str) -> dict[str, Any]:
    return stack.named("kubernetes:apps/v1:Deployment", name).inputs


def pod(stack: RecordingMonitor, name: str) -> dict[str, Any]:
    return deployment(stack, name)["spec"]["template"]["spec"]


def labels(stack: RecordingMonitor, name: str) -> dict[str, str]:
    return deployment(stack, name)["spec"]["template"]["metadata"]["labels"]


def scale_up(stack: RecordingMonitor, name: str) -> dict[str, Any]:
    spec = stack.named("kubernetes:keda.sh/v1alpha1:ScaledObject", name).inputs["spec"]
    return spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"]


def test_a_filter_adds_two_objects_and_all_else_is_there_once(filters):
    few, all_of_them = (len(manifests(record(fleet(some)))) for some in (filters[:1], filters))
    kinds = len({item.service_class for item in filters}) - len({item.service_class for item in filters[:1]})
    assert all_of_them - few == 2 * (len(filters) - 1) + kinds


def test_a_class_has_one_budget_for_all_its_workers(stack, filters):
    budgets = {item.inputs["metadata"]["name"]: item.inputs["spec"] for item in budgets_of(stack)}
    assert set(budgets) == {item.service_class for item in filters}
    for kind, spec in budgets.items():
        assert spec["selector"] == {"matchLabels": {"surge.dev/class": kind}}
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert {labels(stack, item.name)["surge.dev/class"] for item in filters} == set(budgets)
    assert (budgets["interactive"]["maxUnavailable"], budgets["batch"]["maxUnavailable"]) == ("10%", "50%")


def budgets_of(stack: RecordingMonitor) -> list[Any]:
    return stack.of("kubernetes:policy/v1:PodDisruptionBudget")


def test_whole_cards_spread_over_zones_and_hosts_and_shared_ones_over_zones_alone(stack):
    keys = {
        name: [each["topologyKey"] for each in pod(stack, name)["topologySpreadConstraints"]]
        for name in ("whole", "part", "pair")
    }
    zone, host = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
    assert keys == {"whole": [zone, host], "part": [zone], "pair": [zone]}
    for each in pod(stack, "whole")["topologySpreadConstraints"]:
        assert each["whenUnsatisfiable"] == "ScheduleAnyway"
        assert each["labelSelector"] == {"matchLabels": {"surge.dev/filter": "whole"}}


def test_pods_that_share_cards_are_in_hamis_fast_lane_unless_somebody_minds(stack, filters):
    label = "scheduling.x-k8s.io/pod-group"
    assert (labels(stack, "pair")[label], labels(stack, "part")[label]) == ("pair", "part")
    assert label not in labels(stack, "whole")
    without = record(fleet(filters, settings(workers={"pod-group": False})))
    assert label not in labels(without, "pair")


def test_the_settings_name_the_runtime_and_the_pull_secrets_of_every_pod(stack, filters):
    assert not {"runtimeClassName", "imagePullSecrets"} & set(pod(stack, "whole"))
    given = settings(workers={"runtime-class": "nvidia", "pull-secrets": ["ours", "theirs"]})
    for item in filters:
        spec = pod(record(fleet([item], given)), item.name)
        assert spec["runtimeClassName"] == "nvidia"
        assert spec["imagePullSecrets"] == [{"name": "ours"}, {"name": "theirs"}]


def test_a_high_target_gets_a_tolerance_that_leaves_room_where_the_api_server_has_it(stack, filters):
    assert scale_up(stack, "steered")["tolerance"] == "0.026"
    assert "tolerance" not in scale_up(stack, "usual")
    assert "tolerance" not in scale_up(stack, "whole")
    older = record(fleet(filters, version=(1, 34)))
    assert "tolerance" not in scale_up(older, "steered")


def test_nobody_is_root_and_nothing_is_written_but_volumes(stack, filters):
    for item in filters:
        spec = pod(stack, item.name)
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "@sha256:" in container["image"]


def test_no_field_is_unknown_to_the_schema(filters):
    given = settings(workers={"runtime-class": "nvidia", "pull-secrets": ["ours"]})
    checked = [item for item in objects(filters, given) if ".keda.sh" not in f".{item['apiVersion']}"]
    assert len(checked) > len(filters)
    for item in checked:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def objects(filters: tuple[Filter, ...], given: Settings) -> list[dict[str, Any]]:
    return manifests(record(fleet(filters, given)))


def test_the_local_cluster_says_the_version_that_is_built():
    module = (Path(__file__).parents[2] / "toolchain" / "kubernetes" / "go.mod").read_text()
    [(major, minor)] = re.findall(r"k8s\.io/kubernetes v(\d+)\.(\d+)", module)
    assert (int(major), int(minor)) == VERSION
