import pytest

from toolchain.engine.kubernetes.kinds import Kind
from toolchain.engine.kubernetes.problems import ProblemError
from toolchain.engine.kubernetes.readiness import pod_reasons, rule_for
from toolchain.engine.kubernetes.waiting import timeout_s


class Around:
    """Everything else on the cluster: one object by name, or one by labels."""

    def __init__(self, named=None, labelled=()):
        self.named, self.labelled = named, labelled

    def read(self, _kind, _name, _namespace):
        return self.named

    def matching(self, _kind, _namespace, _labels):
        return list(self.labelled)


NOTHING = Around()


def state(api_version, name, obj, around=NOTHING):
    rule = rule_for(Kind(api_version, name), obj)
    assert rule is not None
    return rule({"metadata": {"name": "x", "namespace": "n", **obj.pop("metadata", {})}, **obj}, around).state


def condition(name, status="True", **more):
    return {"conditions": [{"type": name, "status": status, **more}]}


DEPLOYMENT = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
STATEFUL = {
    "observedGeneration": 1,
    "readyReplicas": 2,
    "updatedReplicas": 2,
    "currentRevision": "a",
    "updateRevision": "a",
}
DAEMON = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
CASES = [
    ("apps/v1", "Deployment", {"replicas": 3}, DEPLOYMENT, "ready"),
    ("apps/v1", "Deployment", {"replicas": 0}, {"observedGeneration": 2}, "ready"),
    ("apps/v1", "Deployment", {"replicas": 3, "paused": True}, {}, "ready"),
    ("apps/v1", "Deployment", {"replicas": 3}, DEPLOYMENT | {"observedGeneration": 1}, "waiting"),
    ("apps/v1", "Deployment", {"replicas": 3}, DEPLOYMENT | {"updatedReplicas": 2}, "waiting"),
    ("apps/v1", "Deployment", {"replicas": 3}, DEPLOYMENT | {"replicas": 4}, "waiting"),
    ("apps/v1", "Deployment", {"replicas": 3}, DEPLOYMENT | {"availableReplicas": 2}, "waiting"),
    (
        "apps/v1",
        "Deployment",
        {"replicas": 3},
        DEPLOYMENT | condition("Progressing", "False", reason="ProgressDeadlineExceeded"),
        "failed",
    ),
    ("apps/v1", "StatefulSet", {"replicas": 2}, STATEFUL, "ready"),
    ("apps/v1", "StatefulSet", {"replicas": 2}, STATEFUL | {"readyReplicas": 1}, "waiting"),
    ("apps/v1", "StatefulSet", {"replicas": 2}, STATEFUL | {"updateRevision": "b"}, "waiting"),
    ("apps/v1", "StatefulSet", {"replicas": 2}, STATEFUL | {"updatedReplicas": 1}, "waiting"),
    (
        "apps/v1",
        "StatefulSet",
        {"replicas": 2, "updateStrategy": {"type": "OnDelete"}},
        STATEFUL | {"updatedReplicas": 0},
        "ready",
    ),
    (
        "apps/v1",
        "StatefulSet",
        {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
        STATEFUL | {"updatedReplicas": 1, "updateRevision": "b"},
        "ready",
    ),
    ("apps/v1", "DaemonSet", {}, DAEMON | {"observedGeneration": 2}, "ready"),
    ("apps/v1", "DaemonSet", {}, DAEMON | {"observedGeneration": 2, "numberAvailable": 1}, "waiting"),
    ("apps/v1", "DaemonSet", {}, DAEMON | {"observedGeneration": 2, "updatedNumberScheduled": 1}, "waiting"),
    ("batch/v1", "Job", {}, condition("Complete"), "ready"),
    ("batch/v1", "Job", {}, condition("Failed", reason="BackoffLimitExceeded"), "failed"),
    ("batch/v1", "Job", {}, {"active": 1}, "waiting"),
    ("batch/v1", "Job", {"suspend": True}, {}, "ready"),
    ("v1", "Pod", {}, condition("Ready"), "ready"),
    ("v1", "Pod", {}, {"phase": "Succeeded"}, "ready"),
    ("v1", "Pod", {}, {"phase": "Failed"}, "failed"),
    ("v1", "Pod", {}, {"phase": "Running"}, "waiting"),
    ("v1", "PersistentVolume", {}, {"phase": "Available"}, "ready"),
    ("v1", "PersistentVolumeClaim", {}, {"phase": "Bound"}, "ready"),
    ("v1", "PersistentVolumeClaim", {}, {"phase": "Pending"}, "waiting"),
    ("v1", "Service", {"type": "ExternalName"}, {}, "ready"),
    ("v1", "Service", {"clusterIP": "None", "selector": {"a": "b"}}, {}, "ready"),
    ("v1", "Service", {"type": "ClusterIP"}, {}, "ready"),
    ("v1", "Service", {"selector": {"a": "b"}}, {}, "waiting"),
    ("v1", "Service", {"type": "LoadBalancer"}, {}, "waiting"),
    ("v1", "Service", {"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, "ready"),
    ("networking.k8s.io/v1", "Ingress", {}, {}, "waiting"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, condition("Established"), "ready"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {}, "waiting"),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        {},
        condition("NamesAccepted", "False"),
        "failed",
    ),
    ("apiregistration.k8s.io/v1", "APIService", {}, condition("Available"), "ready"),
    ("apiregistration.k8s.io/v1", "APIService", {}, condition("Available", "False"), "waiting"),
]


@pytest.mark.parametrize(("api_version", "name", "spec", "status", "expected"), CASES)
def test_each_kind_says_when_it_is_ready(api_version, name, spec, status, expected):
    generation = {"generation": 2} if name == "Deployment" else {"generation": 1}
    obj = {"metadata": generation, "spec": spec, "status": dict(status)}
    assert state(api_version, name, obj) == expected


def test_a_service_is_ready_with_its_first_ready_endpoint():
    obj = {"spec": {"selector": {"a": "b"}}}
    late, ready = ({"endpoints": [{"conditions": {"ready": state}}]} for state in (False, True))
    assert state("v1", "Service", obj, Around(labelled=[late])) == "waiting"
    assert state("v1", "Service", obj, Around(labelled=[late, ready])) == "ready"


def test_a_claim_that_waits_for_its_first_consumer_is_ready():
    obj = {"spec": {"storageClassName": "local"}, "status": {"phase": "Pending"}}
    late = {"volumeBindingMode": "WaitForFirstConsumer"}
    assert state("v1", "PersistentVolumeClaim", obj, Around(named=late)) == "ready"


def test_a_kind_without_a_rule_is_ready_at_once():
    assert rule_for(Kind("v1", "ConfigMap"), {}) is None
    assert rule_for(Kind("keda.sh/v1alpha1", "ScaledObject"), {}) is None


@pytest.mark.parametrize(
    ("text", "status", "expected"),
    [
        ("condition=Ready", condition("Ready"), "ready"),
        ("condition=Ready", condition("Ready", "False"), "waiting"),
        ("condition=Ready=False", condition("Ready", "False"), "ready"),
        ("jsonpath={.status.phase}=Running", {"phase": "Running"}, "ready"),
        ("jsonpath={.status.phase}=Running", {"phase": "Pending"}, "waiting"),
        ("jsonpath={.status.phase}", {"phase": "any"}, "ready"),
        ("jsonpath={.status.phase}", {}, "waiting"),
        ("jsonpath={.status.list[1]['a-b']}=2", {"list": [{}, {"a-b": 2}]}, "ready"),
        ('["condition=Ready", "jsonpath={.status.n}=1"]', {"n": 1, **condition("Ready")}, "ready"),
        ('["condition=Ready", "jsonpath={.status.n}=1"]', {"n": 2, **condition("Ready")}, "waiting"),
    ],
)
def test_wait_for_overrides_the_kinds_own_rule(text, status, expected):
    obj = {"metadata": {"annotations": {"pulumi.com/waitFor": text}}, "status": status}
    assert state("example.com/v1", "Thing", obj) == expected


@pytest.mark.parametrize(
    "text", ["ready", "[not json", "condition=", "jsonpath={range .items[*]}", "jsonpath={.a[?(@.b==1)]}"]
)
def test_a_wait_for_that_is_not_understood_is_refused_with_examples(text):
    with pytest.raises(ProblemError, match="condition=Ready"):
        rule_for(Kind("v1", "Pod"), {"metadata": {"annotations": {"pulumi.com/waitFor": text}}})


def test_the_same_reason_of_many_pods_is_told_once():
    waiting = {
        "name": "c",
        "ready": False,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}},
    }
    unschedulable = {
        "status": condition("PodScheduled", "False", reason="Unschedulable", message="0/5 nodes")
    }
    assert pod_reasons([{"status": {"containerStatuses": [waiting]}}] * 3 + [unschedulable]) == [
        "container c: ImagePullBackOff: no (3 pods)",
        "Unschedulable: 0/5 nodes",
    ]


def test_the_timeout_is_the_resources_then_the_annotations_then_the_kinds():
    kind, annotated = (
        Kind("apps/v1", "Deployment"),
        {"metadata": {"annotations": {"pulumi.com/timeoutSeconds": "30"}}},
    )
    assert timeout_s(kind, annotated, 5) == 5
    assert timeout_s(kind, annotated, 0) == 30
    assert timeout_s(kind, {}, 0) == 600
    assert timeout_s(kind, {"metadata": {"annotations": {"pulumi.com/skipAwait": "true"}}}, 5) == 0
