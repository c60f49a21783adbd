import pytest

from toolchain.engine.kubernetes import naming
from toolchain.engine.kubernetes.kinds import Kind, force_new, kind_of
from toolchain.engine.kubernetes.problems import ProblemError, RefusedError, redact
from toolchain.engine.kubernetes.wire import UNKNOWN

FREE = frozenset({"ConfigMap", "Secret"})


def paths(api_version, name, inputs=None, live=None, mutable=frozenset()):
    return set(force_new(Kind(api_version, name), inputs or {}, live or {}, mutable=mutable))


@pytest.mark.parametrize(
    ("token", "inputs", "expected"),
    [
        ("kubernetes:core/v1:ConfigMap", {}, Kind("v1", "ConfigMap")),
        ("kubernetes:apps/v1:Deployment", {"apiVersion": "apps/v1"}, Kind("apps/v1", "Deployment")),
        ("kubernetes:rbac.authorization.k8s.io/v1:Role", {}, Kind("rbac.authorization.k8s.io/v1", "Role")),
        ("kubernetes:keda.sh/v1alpha1:ScaledObject", {}, Kind("keda.sh/v1alpha1", "ScaledObject")),
        ("kubernetes:example.com/v1:AllowList", {"kind": "AllowList"}, Kind("example.com/v1", "AllowList")),
    ],
)
def test_a_token_names_its_kind(token, inputs, expected):
    assert kind_of(token, inputs) == expected


@pytest.mark.parametrize(
    ("token", "inputs", "message"),
    [
        ("kubernetes:core/v1:ConfigMapList", {}, "items one by one"),
        ("kubernetes:apps/v1:DeploymentPatch", {"kind": "Deployment"}, "patch resources are not served"),
        ("kubernetes:keda.sh/v1:ThingPatch", {"kind": "Thing"}, "patch resources are not served"),
        ("kubernetes:helm.sh/v3:Release", {}, "not served by the bundled kubernetes plugin yet"),
        ("kubernetes:helm.sh/v4:Chart", {}, "not served by the bundled kubernetes plugin yet"),
        ("kubernetes:yaml/v2:ConfigGroup", {}, "not served by the bundled kubernetes plugin yet"),
        ("kubernetes:yaml:ConfigFile", {}, "not served by the bundled kubernetes plugin yet"),
        ("kubernetes:kustomize:Directory", {}, "not served by the bundled kubernetes plugin yet"),
        ("aws:s3/bucket:Bucket", {}, "not a resource of the kubernetes package"),
    ],
)
def test_what_is_not_served_is_refused_by_name(token, inputs, message):
    with pytest.raises(ProblemError, match=message):
        kind_of(token, inputs)


@pytest.mark.parametrize(
    ("api_version", "name", "path"),
    [
        ("apps/v1", "Deployment", "spec.selector"),
        ("apps/v1", "DaemonSet", "spec.selector"),
        ("apps/v1", "StatefulSet", "spec.volumeClaimTemplates"),
        ("apps/v1", "StatefulSet", "spec.serviceName"),
        ("batch/v1", "Job", "spec.template"),
        ("batch/v1", "Job", "spec.selector"),
        ("v1", "Service", "spec.clusterIP"),
        ("v1", "Pod", "spec.containers"),
        ("v1", "PersistentVolumeClaim", "spec.storageClassName"),
        ("v1", "PersistentVolume", "spec.hostPath"),
        ("v1", "Secret", "type"),
        ("v1", "Secret", "stringData"),
        ("v1", "ConfigMap", "data"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "roleRef"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "roleRef"),
        ("storage.k8s.io/v1", "StorageClass", "provisioner"),
        ("storage.k8s.io/v1", "StorageClass", "volumeBindingMode"),
        ("scheduling.k8s.io/v1", "PriorityClass", "value"),
        ("example.com/v1", "Anything", "metadata.name"),
        ("v1", "ConfigMap", "metadata.namespace"),
    ],
)
def test_fields_that_the_api_server_never_changes_force_a_replacement(api_version, name, path):
    assert path in paths(api_version, name)


def test_data_changes_in_place_where_the_provider_allows_it_unless_immutable():
    assert "data" not in paths("v1", "ConfigMap", mutable=FREE)
    assert "data" not in paths("v1", "Secret", mutable=FREE)
    assert "data" in paths("v1", "ConfigMap", {"immutable": True}, mutable=FREE)
    assert "data" in paths("v1", "Secret", {}, {"immutable": True}, mutable=FREE)


def test_the_name_is_stable_between_preview_and_update_and_marked():
    first = naming.with_name({}, {}, "web", b"seed")
    assert first == naming.with_name({}, {}, "web", b"seed")
    assert naming.is_autonamed(first)
    stem, _, digits = naming.name_of(first).rpartition("-")
    assert stem == "web"
    assert len(digits) == 8
    int(digits, 16)


def test_an_unnamed_object_keeps_the_name_it_got():
    old = naming.with_name({}, {}, "web", b"seed")
    again = naming.with_name({"metadata": {"labels": {"a": "b"}}}, old, "web", b"other")
    assert naming.name_of(again) == naming.name_of(old)
    assert again["metadata"]["labels"] == {"a": "b"}


def test_a_given_or_unknown_name_is_left_alone():
    for metadata in ({"name": "mine"}, {"name": UNKNOWN}, UNKNOWN):
        assert naming.with_name({"metadata": metadata}, {}, "web", b"s") == {"metadata": metadata}


def test_generate_name_is_refused():
    with pytest.raises(ProblemError, match="generateName"):
        naming.with_name({"metadata": {"generateName": "a-"}}, {}, "web", b"s")


def test_the_field_manager_is_the_annotations_then_the_states_then_a_new_one():
    annotated = {"metadata": {"annotations": {"pulumi.com/patchFieldManager": "team"}}}
    assert naming.field_manager(annotated, {"__fieldManager": "old"}) == "team"
    assert naming.field_manager({}, {"__fieldManager": "old"}) == "old"
    assert naming.field_manager({}, {}).startswith("pulumi-kubernetes-")


def test_identifiers_are_namespace_slash_name():
    assert naming.identifier({"metadata": {"name": "n", "namespace": "s"}}) == "s/n"
    assert naming.identifier({"metadata": {"name": "n"}}) == "n"
    assert naming.split_identifier("s/n") == ("s", "n")
    assert naming.split_identifier("n") == ("", "n")


def test_a_conflict_names_managers_fields_and_the_way_out():
    body = """{"reason": "Conflict", "message": "x", "details": {"causes": [
      {"reason": "FieldManagerConflict", "message": "conflict with \\"hpa\\" using apps/v1",
       "field": ".spec.replicas"}
    ]}}"""
    text = str(RefusedError(409, body, "Deployment a/b"))
    assert '"hpa" manages .spec.replicas' in text
    assert 'pulumi.com/patchForce: "true"' in text
    assert "\n" not in text


def test_no_message_contains_a_secret():
    assert redact('Invalid value: "hunter2": no', {"hunter2", "n"}) == 'Invalid value: "[secret]": no'
