"""The whole program of a local stack, as the engine would be asked for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.stack import NotAvailableError, build
from surge.model import Catalogue, Settings, services
from tests.engine.recording import Recorded, RecordingMonitor, record

ROOT = Path(__file__).parents[2]
KEDA_OBJECTS = {
    "crd/bases": ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "scaledobjects.keda.sh"),
    "general": ("v1", "Namespace", "keda"),
    "service_account": ("v1", "ServiceAccount", "keda-operator"),
    "rbac": ("rbac.authorization.k8s.io/v1", "ClusterRole", "keda-operator"),
    "metrics-server": ("apiregistration.k8s.io/v1", "APIService", "v1beta1.external.metrics.k8s.io"),
}
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SCALED_OBJECT = "kubernetes:keda.sh/v1alpha1:ScaledObject"


POOLS = {"shared": {"kind": "shared", "nodes": 1}, "pairs": {"kind": "pairs", "nodes": 1, "slots": 4}}


def settings(kind: str = "local", **sections: Any) -> Settings:
    cluster = {"name": "one", "nodes": 36, "pools": POOLS}
    return Settings.parse({"stack-kind": kind, "cluster": cluster, **sections})


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.read(ROOT / "filters.yaml", settings())


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A checkout whose tools are built, as far as the program looks."""
    root = tmp_path_factory.mktemp("checkout")
    for folder, (version, kind, name) in KEDA_OBJECTS.items():
        place = root / ".tools" / "keda" / folder
        place.mkdir(parents=True)
        document = {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
        (place / "object.yaml").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="module")
def stack(catalogue, root) -> RecordingMonitor:
    return record(lambda: build(settings(), catalogue, root=root))


def test_every_filter_is_two_objects_and_an_update_never_resets_its_replicas(stack, catalogue):
    stay = [item for item in services(catalogue.filters) if not item.runs_as_jobs]
    for item in stay:
        workers = stack.named(DEPLOYMENT, item.name)
        assert workers.inputs["spec"].get("replicas") == (0 if item.min == 0 else None)
        assert "spec.replicas" in workers.ignored
        assert stack.named(SCALED_OBJECT, item.name).inputs["spec"]["maxReplicaCount"] == item.max
    assert len(stack.of(DEPLOYMENT)) == len(stack.of(SCALED_OBJECT)) == len(stay)


def test_demand_asks_for_workers_outright_and_ratio_is_compared_as_a_value(stack):
    [demand] = stack.named(SCALED_OBJECT, "ghibli").inputs["spec"]["triggers"]
    assert (demand["metricType"], demand["metadata"]["valueLocation"]) == ("AverageValue", "desired_workers")
    assert demand["metadata"]["targetValue"] == "1"
    ratio, backlog = stack.named(SCALED_OBJECT, "ghibli-ratio").inputs["spec"]["triggers"]
    assert (ratio["metricType"], ratio["metadata"]["targetValue"]) == ("Value", "0.700")
    assert backlog["metricType"] == "AverageValue"


def test_the_two_ghibli_filters_differ_in_nothing_but_the_signal(catalogue):
    one, other = catalogue["ghibli"], catalogue["ghibli-ratio"]
    differ = {
        key
        for key in one.model_fields_set | other.model_fields_set
        if getattr(one, key) != getattr(other, key)
    }
    assert differ - {"name", "queue"} == {"signal", "target"}


def test_without_a_metric_nothing_scales_in(stack):
    for item in stack.of(SCALED_OBJECT):
        fallback = item.inputs["spec"]["fallback"]
        assert fallback["behavior"] == "currentReplicasIfHigher"
        assert fallback["replicas"] >= 1


def test_the_settings_say_what_the_topology_may_lose_and_take_over(stack, catalogue, root):
    allowed = {"delete-non-empty": ["filter.old"], "adopt": ["user worker.one"]}
    allowing = record(lambda: build(settings(broker=allowed), catalogue, root=root))
    for recorded, queues, others in ((stack, [], []), (allowing, ["filter.old"], ["user worker.one"])):
        [topology] = recorded.of("surge:broker:Topology")
        assert (topology.inputs["delete_non_empty"], topology.inputs["adopt"]) == (queues, others)


def test_no_secret_is_an_argument_of_a_process(stack):
    for process in stack.of("surge:local:Process"):
        for argument in process.inputs["command"]:
            assert "result" not in argument, f"{process.name} shows a password to everybody: {argument}"


def test_every_object_names_its_cluster_and_goes_with_it(stack):
    objects = [item for item in stack.resources.values() if item.token.startswith("kubernetes:")]
    assert objects
    for item in objects:
        assert "one-kubernetes" in item.provider, f"{item.urn} would go to whatever cluster is current"
        assert item.deleted_with.endswith("::one-etcd")


def test_every_component_tells_that_it_is_done(stack):
    components = {
        item.urn for item in stack.resources.values() if not item.custom and item.token.startswith("surge:")
    }
    assert len(components) > len(KEDA_OBJECTS)
    assert components <= stack.outputs.keys()


def test_processes_start_after_what_they_need(stack):
    def needs(name: str) -> set[str]:
        found = stack.named("surge:local:Process", name).dependencies
        return {urn.rpartition("::")[2] for urn in found}

    assert "one-etcd" in needs("one-kube-apiserver")
    assert "one-kube-apiserver" in needs("one-kube-controller-manager")
    assert "one-topology" in needs("one-saturation")
    assert "one-topology" in needs("one-fleet")


def test_etcd_answers_its_own_authoritys_certificates_alone_and_no_user_has_one(stack):
    etcd = stack.named("surge:local:Process", "one-etcd").inputs
    assert {"--client-cert-auth", "--peer-client-cert-auth"} <= set(etcd["command"])
    assert [part for part in etcd["command"] if "http://" in part] == []
    authority = etcd["files"]["ca.crt"]
    held = {
        item.name
        for item in stack.of("surge:pki:Certificate")
        if item.inputs["authority_certificate"] == authority
    }
    assert held == {"one-etcd", "one-etcd-client"}


def test_processes_of_one_cluster_never_share_a_port(stack):
    ports = [int(port) for process in stack.of("surge:local:Process") for port in process.inputs["ports"]]
    assert len(ports) == len(set(ports)) > len(KEDA_OBJECTS)


@pytest.mark.parametrize("kind", ["onprem", "aws", "burst"])
def test_a_stack_that_cannot_be_built_is_refused_before_the_first_resource(catalogue, root, kind):
    with pytest.raises(NotAvailableError, match=f"kind {kind} is not available yet: .* missing"):
        build(settings(kind), catalogue, root=root)


def marking(changes: dict[str, Any], catalogue: Catalogue, root: Path) -> list[Recorded]:
    cluster = {"name": "one", "nodes": 36, "pools": POOLS}
    chosen = Settings.parse({"stack-kind": "local", "cluster": cluster, **changes})
    stack = record(lambda: build(chosen, catalogue, root=root))
    return [item for item in stack.of("surge:local:Process") if item.name == "one-scale-in"]


def test_idle_workers_are_marked_but_for_filters_too_fast_for_it_and_those_that_nobody_wants_marked(
    catalogue, root
):
    [process] = marking({"scale-in": {"leave": ["clay"]}}, catalogue, root)
    files = process.inputs["files"]
    files = files.get("value", files)
    left = json.loads(files["config.json"])["leave"]
    assert files["credentials"].startswith("scale-in.one:")
    assert "clay" in left
    assert {"sketch", "ghibli"} & set(left) == {"sketch"}


def test_the_marking_may_be_switched_off_altogether(catalogue, root):
    assert marking({"scale-in": {"idle-first": False}}, catalogue, root) == []
