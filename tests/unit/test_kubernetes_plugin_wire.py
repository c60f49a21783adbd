import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from toolchain.engine.kubernetes import states, wire
from toolchain.engine.kubernetes.problems import ProblemError
from toolchain.engine.kubernetes.wire import UNKNOWN, Secret

leaves = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text() | st.just(UNKNOWN)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4)
        | inner.filter(lambda v: not isinstance(v, Secret)).map(Secret)
    ),
    max_leaves=20,
)


@pytest.mark.long
@given(st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=5))
def test_every_value_comes_back_from_the_wire_as_it_went(properties):
    assert wire.decode(wire.encode(properties)) == properties


def test_whole_numbers_become_integers_because_kubernetes_refuses_3_0():
    decoded = wire.decode(wire.encode({"replicas": 3.0, "ratio": 0.5}))
    assert decoded == {"replicas": 3, "ratio": 0.5}
    assert isinstance(decoded["replicas"], int)


def test_an_asset_is_refused_with_the_way_out():
    asset = struct_pb2.Struct(
        fields={wire.SIGNATURE: struct_pb2.Value(string_value="c44067f5952c0a294b673a41bacd8c17")}
    )
    holder = struct_pb2.Struct(fields={"data": struct_pb2.Value(struct_value=asset)})
    with pytest.raises(ProblemError, match="pass its text instead"):
        wire.decode(holder)


def test_outputs_are_secret_exactly_where_inputs_were():
    inputs = {
        "spec": {"env": [{"name": "A", "value": Secret("x")}], "replicas": 1},
        "metadata": {"name": "n"},
    }
    outputs = {
        "spec": {"env": [{"name": "A", "value": "x"}], "replicas": 1},
        "metadata": {"name": "n", "uid": "u"},
    }
    marked = wire.mark_secrets(outputs, inputs)
    assert marked["spec"]["env"] == Secret([{"name": "A", "value": "x"}])
    assert marked["spec"]["replicas"] == 1
    assert marked["metadata"] == {"name": "n", "uid": "u"}


def test_the_data_of_a_secret_is_secret_whatever_the_program_said():
    kubectl = "kubectl.kubernetes.io/last-applied-configuration"
    live = {
        "kind": "Secret",
        "data": {"a": "eA=="},
        "metadata": {"name": "n", "annotations": {kubectl: '{"data":1}'}},
    }
    marked = wire.mark_secrets(live, {})
    assert marked["data"] == Secret({"a": "eA=="})
    assert marked["metadata"]["annotations"][kubectl] == Secret('{"data":1}')


def test_secret_texts_are_found_in_both_encodings():
    found = wire.secret_texts(
        {"data": Secret({"a": "aHVudGVyMg=="}), "stringData": Secret({"b": "swordfish"})}
    )
    assert {"aHVudGVyMg==", "hunter2", "swordfish", "c3dvcmRmaXNo"} <= found


def test_state_keeps_the_official_layout_without_managed_fields():
    live = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "n", "managedFields": [{}], "uid": "u"},
    }
    kept = states.outputs(live, {"metadata": {"name": "n"}}, "pulumi-kubernetes-1", "v1")
    assert kept["metadata"] == {"name": "n", "uid": "u"}
    assert kept["__inputs"] == {"metadata": {"name": "n"}}
    assert (kept["__fieldManager"], kept["__initialApiVersion"]) == ("pulumi-kubernetes-1", "v1")


def test_extensions_of_a_schema_have_dashes_on_the_cluster_and_underscores_in_the_program():
    program = {"spec": {"schema": {"x_kubernetes_preserve_unknown_fields": True}}}
    cluster = states.from_program(program)
    assert cluster == {"spec": {"schema": {"x-kubernetes-preserve-unknown-fields": True}}}
    assert states.to_program(cluster) == program


def test_inputs_lose_nulls_status_and_read_only_metadata():
    inputs = states.from_program(
        {
            "metadata": {"name": "n", "uid": "u", "resourceVersion": "1"},
            "spec": {"a": None, "b": 1},
            "status": {},
        }
    )
    assert inputs == {"metadata": {"name": "n"}, "spec": {"b": 1}}


def test_a_created_object_previews_what_only_the_server_knows_as_unknown():
    live = {
        "kind": "Service",
        "metadata": {"name": "n", "uid": "made-up", "resourceVersion": "1"},
        "spec": {"clusterIP": "10.96.1.1", "ports": [1]},
        "status": {},
    }
    shown = states.preview_outputs(live, {"spec": {"ports": [1]}}, created=True)
    assert shown["metadata"] == {
        "name": "n",
        "uid": UNKNOWN,
        "resourceVersion": UNKNOWN,
        "creationTimestamp": UNKNOWN,
    }
    assert shown["spec"] == {"clusterIP": UNKNOWN, "ports": [1]}
    assert "status" not in shown


def test_an_imported_object_gives_inputs_that_a_program_could_have_written():
    live = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "n",
            "uid": "u",
            "annotations": {"deployment.kubernetes.io/revision": "3"},
            "managedFields": [],
        },
        "spec": {"replicas": 1},
        "status": {"replicas": 1},
    }
    assert states.imported_inputs(live) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "n"},
        "spec": {"replicas": 1},
    }
