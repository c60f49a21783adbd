from hypothesis import given
from hypothesis import strategies as st

from toolchain.engine.kubernetes.diffs import Change, changes, drifted, path_text, under
from toolchain.engine.kubernetes.wire import UNKNOWN

trees = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(trees)
def test_equal_inputs_never_differ(tree):
    assert changes(tree, tree, ("a", "b.c")) == []


@given(trees, trees)
def test_what_did_not_change_on_the_cluster_has_not_drifted(inputs, live):
    assert drifted(inputs, live, live) == inputs


@given(trees, trees)
def test_what_equals_the_inputs_has_not_drifted(inputs, before):
    assert drifted(inputs, before, inputs) == inputs


def test_each_change_has_its_path_and_operation():
    old = {"spec": {"replicas": 1, "paused": True, "list": [1, 2]}}
    new = {"spec": {"replicas": 2, "list": [1, 3, 4], "more": {"a": 1}}}
    assert {(path_text(c.path), c.operation) for c in changes(old, new, ())} == {
        ("spec.replicas", "update"),
        ("spec.paused", "delete"),
        ("spec.list[1]", "update"),
        ("spec.list[2]", "add"),
        ("spec.more", "add"),
    }


def test_true_is_not_one():
    assert [c.operation for c in changes({"a": 1}, {"a": True}, ())] == ["update"]


def test_an_unknown_value_is_a_change():
    assert changes({"a": 1}, {"a": UNKNOWN}, ()) == [Change(("a",), "update", False)]


def test_a_change_below_an_immutable_field_replaces():
    old = {"spec": {"selector": {"matchLabels": {"a": "1"}}, "replicas": 1}}
    new = {"spec": {"selector": {"matchLabels": {"a": "2"}}, "replicas": 2}}
    replaces = {path_text(c.path): c.replaces for c in changes(old, new, ("spec.selector",))}
    assert replaces == {"spec.selector.matchLabels.a": True, "spec.replicas": False}


def test_a_change_inside_a_list_counts_for_the_pattern_without_indexes():
    old, new = ({"spec": {"containers": [{"image": i}]}} for i in "ab")
    assert [c.replaces for c in changes(old, new, ("spec.containers",))] == [True]


def test_a_map_that_goes_away_replaces_only_with_the_immutable_field_in_it():
    force_new = ("spec.storageClassName",)
    assert [c.replaces for c in changes({"spec": {"storageClassName": "a"}}, {}, force_new)] == [True]
    assert [c.replaces for c in changes({"spec": {"size": 1}}, {}, force_new)] == [False]


def test_a_quantity_that_the_server_writes_differently_is_no_drift():
    inputs = {"limits": {"cpu": "1000m"}}
    live = {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}
    assert drifted(inputs, live, live | {"status": 1}) == inputs


def test_a_value_changed_by_hand_is_drift():
    assert drifted({"replicas": 2, "paused": False}, {"replicas": 2, "paused": False}, {"replicas": 5}) == {
        "replicas": 5
    }


def test_fields_that_the_server_never_shows_cannot_drift():
    inputs = {"stringData": {"a": "x"}, "data": {"b": "eQ=="}}
    before = {"data": {"a": "eA==", "b": "eQ=="}}
    now = {"data": {"a": "eA==", "b": "eg=="}}
    assert drifted(inputs, before, now) == {"stringData": {"a": "x"}, "data": {"b": "eg=="}}


def test_a_container_that_somebody_injected_is_not_ours():
    ours = [{"name": "app", "image": "a"}]
    before = [{"name": "app", "image": "a", "pull": "Always"}]
    now = [{"name": "sidecar", "image": "s"}, {"name": "app", "image": "b", "pull": "Always"}]
    assert drifted(ours, before, now) == [{"name": "app", "image": "b"}]


def test_a_list_without_names_that_grew_is_drift():
    assert drifted({"args": ["a"]}, {"args": ["a"]}, {"args": ["a", "b"]}) == {"args": ["a", "b"]}


def test_paths_are_written_as_pulumi_reads_them():
    path = ("metadata", "annotations", "a.b/c", 0, "x")
    assert path_text(path) == 'metadata.annotations["a.b/c"][0].x'
    assert under("spec.replicas", "spec")
    assert under("spec[0]", "spec")
    assert not under("specs", "spec")
