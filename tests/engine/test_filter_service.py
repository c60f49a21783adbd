"""What an entry of the catalogue becomes: its pods, what sizes them, and what its class shares."""

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from components.clusters.local import VERSION
from surge.model import Catalogue, Filter, Settings, services
from tests.engine.fleet_program import fleet, manifests, settings
from tests.engine.recording import RecordingMonitor, record

KUBERNETES = "1.36"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
IMAGE = "registry.example/style@sha256:" + "0" * 64
PART = "memory-mib: 9000, cores: 20"
FIRST = f"{{{PART}, trainer: {{image: '{IMAGE}', {PART}, runs: first}}}}"
PARTS = f"{{{PART}}}"
ENTRIES = f"""
defaults:
  interactive: {{service-s: 2, min: 1, max: 4, longest-job-s: 60, owner: me}}
  batch: {{service-s: 2, min: 1, max: 4, longest-job-s: 60, slo-s: 900, owner: me}}
  scale-to-zero: {{service-s: 2, min: 0, max: 4, longest-job-s: 60, owner: me}}
  pooled: {{service-s: 2, min: 1, max: 4, longest-job-s: 60, owner: me}}
filters:
  whole: {{image: '{IMAGE}'}}
  steered: {{image: '{IMAGE}', signal: ratio, target: 0.95}}
  usual: {{image: '{IMAGE}', signal: ratio}}
  part: {{image: '{IMAGE}', gpu: {{memory-mib: 20000, cores: 30}}}}
  pair:
    image: '{IMAGE}'
    gpu: {{memory-mib: 16000, cores: 20, trainer: {{image: '{IMAGE}', memory-mib: 20000, cores: 25}}}}
  night: {{image: '{IMAGE}', class: batch, longest-job-s: 570}}
  reels: {{image: '{IMAGE}', class: batch, longest-job-s: 571, min: 0, max: 7, warmup-s: 40, gpu: {PARTS}}}
  rare: {{image: '{IMAGE}', class: scale-to-zero, priority: low}}
  freckles: {{image: '{IMAGE}', class: pooled, worker-set: trinkets}}
  sparkle: {{image: '{IMAGE}', class: pooled, worker-set: trinkets, service-s: 4}}
  shelf: {{image: '{IMAGE}', model: 'nas://models/style/v3', priority: high}}
  borrowed: {{image: '{IMAGE}', model: 'nas://theirs/style.safetensors'}}
  bucket: {{image: '{IMAGE}', model: 's3://models/style/v3'}}
  learner:
    image: '{IMAGE}'
    model: nas://models/faces
    gpu: {FIRST}
  learner-pulls:
    image: '{IMAGE}'
    model: s3://models/faces
    gpu: {FIRST}
"""
NAS = {"server": "nas.example", "path": "/export/models"}
MODELS = {
    "shares": {"models": NAS, "theirs": {"claim": "their-models"}},
    "puller": {"image": IMAGE, "secret": "bucket-key"},
}
GIVEN = settings(workers={"models": MODELS})
CACHED = settings(workers={"models": {**MODELS, "cache": "/var/lib/surge/models"}})


@pytest.fixture(scope="module")
def filters(tmp_path_factory) -> tuple[Filter, ...]:
    file = tmp_path_factory.mktemp("catalogue") / "filters.yaml"
    file.write_text(ENTRIES)
    return Catalogue.read(file, GIVEN).filters


@pytest.fixture(scope="module")
def stack(filters) -> RecordingMonitor:
    return record(fleet(filters, GIVEN))


def named(filters: tuple[Filter, ...], *names: str) -> list[Filter]:
    return [item for item in filters if item.name in names]


def deployment(stack: RecordingMonitor, name: str) -> dict[str, Any]:
    return stack.named(DEPLOYMENT, name).inputs


def template(stack: RecordingMonitor, item: Filter) -> dict[str, Any]:
    if item.runs_as_jobs:
        return job(stack)["spec"]["jobTargetRef"]["template"]
    return deployment(stack, item.name)["spec"]["template"]


def pod(stack: RecordingMonitor, name: str) -> dict[str, Any]:
    return deployment(stack, name)["spec"]["template"]["spec"]


def labels(stack: RecordingMonitor, name: str) -> dict[str, str]:
    return deployment(stack, name)["spec"]["template"]["metadata"]["labels"]


def scale_up(stack: RecordingMonitor, name: str) -> dict[str, Any]:
    spec = stack.named("kubernetes:keda.sh/v1alpha1:ScaledObject", name).inputs["spec"]
    return spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"]


def test_a_filter_adds_two_objects_and_all_else_is_there_once(filters):
    few, all_of_them = (len(manifests(record(fleet(some, GIVEN)))) for some in (filters[:1], filters))
    kinds = len({item.service_class for item in filters}) - len({item.service_class for item in filters[:1]})
    jobs = sum(item.runs_as_jobs for item in filters)
    assert all_of_them - few == 2 * (len(services(filters)) - 1) - jobs + kinds


def test_batch_work_has_its_own_folder_of_the_shared_claim_and_nobody_else_sees_it(filters):
    stack = record(fleet(filters, settings(workers={"models": MODELS, "shared-claim": "checkpoints"})))
    for item in services(filters):
        spec = template(stack, item)["spec"]
        claims = [each.get("persistentVolumeClaim", {}).get("claimName") for each in spec["volumes"]]
        assert ("checkpoints" in claims) == (item.service_class == "batch"), item.name
    [night] = pod(stack, "night")["containers"]
    assert {"name": "SURGE_SHARED", "value": "/var/surge/shared"} in night["env"]
    [mount] = [each for each in night["volumeMounts"] if each["name"] == "shared"]
    assert (mount["mountPath"], mount["subPath"]) == ("/var/surge/shared/night", "night")


def test_a_class_has_one_budget_for_all_its_workers(stack, filters):
    budgets = {item.inputs["metadata"]["name"]: item.inputs["spec"] for item in budgets_of(stack)}
    assert set(budgets) == {item.service_class for item in filters}
    for kind, spec in budgets.items():
        assert spec["selector"]["matchLabels"] == {"surge.dev/class": kind}
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    templates = [template(stack, item) for item in services(filters)]
    assert {each["metadata"]["labels"]["surge.dev/class"] for each in templates} == set(budgets)
    assert budgets["batch"]["selector"]["matchExpressions"] == [
        {"key": "batch.kubernetes.io/job-name", "operator": "DoesNotExist"}
    ]
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
    without = record(fleet(named(filters, "pair"), settings(workers={"pod-group": False})))
    assert label not in labels(without, "pair")


def test_the_settings_name_the_runtime_and_the_pull_secrets_of_every_pod(stack, filters):
    assert not {"runtimeClassName", "imagePullSecrets"} & set(pod(stack, "whole"))
    given = settings(workers={"runtime-class": "nvidia", "pull-secrets": ["ours", "theirs"]})
    stack = record(fleet(named(filters, "whole", "pair", "night"), given))
    for name in ("whole", "pair", "night"):
        spec = pod(stack, name)
        assert spec["runtimeClassName"] == "nvidia"
        assert spec["imagePullSecrets"] == [{"name": "ours"}, {"name": "theirs"}]


def test_a_high_target_gets_a_tolerance_that_leaves_room_where_the_api_server_has_it(stack, filters):
    assert scale_up(stack, "steered")["tolerance"] == "0.026"
    assert "tolerance" not in scale_up(stack, "usual")
    assert "tolerance" not in scale_up(stack, "whole")
    older = record(fleet(named(filters, "steered"), version=(1, 34)))
    assert "tolerance" not in scale_up(older, "steered")


def test_nobody_is_root_and_nothing_is_written_but_volumes(stack, filters):
    for item in services(filters):
        spec = template(stack, item)["spec"]
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


def test_batch_work_that_outlasts_a_drain_is_done_by_jobs_that_end(stack):
    spec = job(stack)["spec"]
    assert not [item for item in stack.of(DEPLOYMENT) if item.name == "reels"]
    assert [item for item in stack.of(DEPLOYMENT) if item.name == "night"]
    assert spec["maxReplicaCount"] == 7
    assert spec["scalingStrategy"] == {"strategy": "default"}
    assert spec["rollout"] == {"strategy": "gradual"}
    [trigger] = spec["triggers"]
    assert trigger["metadata"]["valueLocation"] == "desired_workers"
    assert "metricType" not in trigger, "KEDA makes no Job of such a trigger"


def test_a_job_is_told_its_shift_and_has_a_deadline_behind_its_longest_job(stack):
    shift = job(stack)["spec"]["jobTargetRef"]["template"]["spec"]
    told = {item["name"]: item["value"] for item in shift["containers"][0]["env"]}
    assert told["SURGE_SHIFT_S"] == str(9 * 40)
    assert shift["restartPolicy"] == "Never"
    assert shift["activeDeadlineSeconds"] == 3 * 40 + 9 * 40 + 571 + 30
    assert "SURGE_SHIFT_S" not in json.dumps(pod(stack, "night"))


def test_a_pod_of_a_job_is_the_workers_own_in_every_other_way(stack):
    template = job(stack)["spec"]["jobTargetRef"]["template"]
    theirs = deployment(stack, "part")["spec"]["template"]
    assert set(theirs["spec"]) - set(template["spec"]) == set()
    assert template["spec"]["securityContext"] == theirs["spec"]["securityContext"]
    assert template["spec"]["nodeSelector"] == theirs["spec"]["nodeSelector"]
    assert template["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpumem"] == "9000"
    assert template["metadata"]["labels"]["surge.dev/filter"] == "reels"
    assert template["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def job(stack: RecordingMonitor) -> dict[str, Any]:
    return stack.named("kubernetes:keda.sh/v1alpha1:ScaledJob", "reels").inputs


def test_who_waits_for_nobody_may_evict_and_all_others_are_placed_in_order(stack):
    classes = {
        item.inputs["metadata"]["name"]: (item.inputs["value"], item.inputs["preemptionPolicy"])
        for item in stack.of("kubernetes:scheduling.k8s.io/v1:PriorityClass")
    }
    assert classes == {
        "surge-high": (3_000, "PreemptLowerPriority"),
        "surge-normal": (2_000, "Never"),
        "surge-low": (1_000, "Never"),
    }
    asked = {name: pod(stack, name)["priorityClassName"] for name in ("shelf", "whole", "rare")}
    assert asked == {"shelf": "surge-high", "whole": "surge-normal", "rare": "surge-low"}


def test_a_share_is_one_volume_for_all_and_a_folder_of_it_for_each(stack):
    [volume] = [item.inputs for item in stack.of("kubernetes:core/v1:PersistentVolume")]
    [claim] = [item.inputs for item in stack.of("kubernetes:core/v1:PersistentVolumeClaim")]
    assert volume["spec"]["nfs"] == {**NAS, "readOnly": True}
    assert volume["spec"]["claimRef"] == {"namespace": "filters", "name": claim["metadata"]["name"]}
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert (volume["spec"]["storageClassName"], claim["spec"]["storageClassName"]) == ("", "")
    assert volumes(stack, "shelf") == {
        "persistentVolumeClaim": {"claimName": "models-models", "readOnly": True}
    }
    assert volumes(stack, "borrowed")["persistentVolumeClaim"]["claimName"] == "their-models"
    [worker] = pod(stack, "shelf")["containers"]
    assert mounts(worker) == [
        {"name": "model", "mountPath": "/var/surge/model", "subPath": "style/v3", "readOnly": True}
    ]
    assert {"name": "SURGE_MODEL", "value": "/var/surge/model"} in worker["env"]


def test_an_object_is_pulled_before_the_worker_starts_and_read_only_for_it(stack):
    spec = pod(stack, "bucket")
    [puller], [worker] = spec["initContainers"], spec["containers"]
    told = {item["name"]: item["value"] for item in puller["env"]}
    assert told["SURGE_MODEL_URL"] == "s3://models/style/v3"
    assert puller["envFrom"] == [{"secretRef": {"name": "bucket-key"}}]
    [read], [written] = mounts(worker), mounts(puller)
    assert told["SURGE_MODEL_INTO"] == f"{written['mountPath']}/{read['subPath']}"
    assert (read["readOnly"], "readOnly" in written) == (True, False)
    assert volumes(stack, "bucket") == {"emptyDir": {}}


def test_a_cache_keeps_what_was_pulled_on_the_node(filters):
    stack = record(fleet(named(filters, "bucket", "learner-pulls"), CACHED))
    [volume] = [
        item.inputs
        for item in stack.of("kubernetes:core/v1:PersistentVolume")
        if item.inputs["metadata"]["name"] == "model-cache"
    ]
    assert volume["spec"]["hostPath"] == {"path": "/var/lib/surge/models", "type": "Directory"}
    for name in ("bucket", "learner-pulls"):
        assert volumes(stack, name) == {"persistentVolumeClaim": {"claimName": "model-cache"}}
    folders = {
        mounts(pod(stack, name)["containers"][0])[0]["subPath"] for name in ("bucket", "learner-pulls")
    }
    assert len(folders) == len({"s3://models/style/v3", "s3://models/faces"})


def test_a_cached_share_is_copied_onto_the_node_by_the_puller_and_read_there(filters):
    shares = {"models": {**NAS, "cached": True}, "theirs": {"claim": "their-models"}}
    given = settings(workers={"models": {**MODELS, "shares": shares, "cache": "/var/lib/surge/models"}})
    stack = record(fleet(named(filters, "shelf", "borrowed"), given))
    spec = pod(stack, "shelf")
    [puller], [worker] = spec["initContainers"], spec["containers"]
    told = {item["name"]: item["value"] for item in puller["env"]}
    assert told["SURGE_MODEL_URL"] == "nas://models/style/v3"
    written, source = puller["volumeMounts"]
    assert source == {
        "name": "model-share",
        "mountPath": told["SURGE_MODEL_FROM"],
        "subPath": "style/v3",
        "readOnly": True,
    }
    [read] = mounts(worker)
    assert told["SURGE_MODEL_INTO"] == f"{written['mountPath']}/{read['subPath']}"
    claims = {item["name"]: item.get("persistentVolumeClaim") for item in spec["volumes"]}
    assert claims["model"] == {"claimName": "model-cache"}
    assert claims["model-share"] == {"claimName": "models-models", "readOnly": True}
    assert "initContainers" not in pod(stack, "borrowed")


def test_a_trainer_sees_the_model_and_runs_after_the_pull(stack):
    assert [each["name"] for each in pod(stack, "learner")["initContainers"]] == ["trainer"]
    pulled = pod(stack, "learner-pulls")
    assert [each["name"] for each in pulled["initContainers"]] == ["model", "trainer"]
    assert mounts(pulled["initContainers"][1]) == mounts(pulled["containers"][0])


def volumes(stack: RecordingMonitor, name: str) -> dict[str, Any]:
    [found] = [item for item in pod(stack, name)["volumes"] if item["name"] == "model"]
    return {key: value for key, value in found.items() if key != "name"}


def mounts(container: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in container["volumeMounts"] if item["name"] == "model"]


def test_no_field_is_unknown_to_the_schema(filters):
    given = settings(workers={"runtime-class": "nvidia", "pull-secrets": ["ours"], "models": MODELS})
    checked = [item for item in objects(filters, given) if ".keda.sh" not in f".{item['apiVersion']}"]
    assert len(checked) > len(services(filters))
    for item in checked:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def objects(filters: tuple[Filter, ...], given: Settings) -> list[dict[str, Any]]:
    return manifests(record(fleet(filters, given)))


def test_the_local_cluster_says_the_version_that_is_built():
    module = (Path(__file__).parents[2] / "toolchain" / "kubernetes" / "go.mod").read_text()
    [(major, minor)] = re.findall(r"k8s\.io/kubernetes v(\d+)\.(\d+)", module)
    assert (int(major), int(minor)) == VERSION
