import json

import pytest

from toolchain.engine.kubernetes.problems import ProblemError
from toolchain.engine.kubernetes.settings import ProviderSettings, replaced_by
from toolchain.engine.kubernetes.wire import UNKNOWN, Secret


def kubeconfig(server="https://one", namespace=None):
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    return json.dumps(
        {
            "clusters": [
                {"name": "c", "cluster": {"server": server}},
                {"name": "d", "cluster": {"server": "https://d"}},
            ],
            "users": [{"name": "u", "user": {}}],
            "contexts": [
                {"name": "x", "context": context},
                {"name": "y", "context": {"cluster": "d", "user": "u"}},
            ],
            "current-context": "x",
        }
    )


def test_content_and_path_mean_the_same(tmp_path):
    path = tmp_path / "config"
    path.write_text(kubeconfig())
    documents = [
        ProviderSettings.parse({"kubeconfig": given}, {}).kubeconfig_document()
        for given in (str(path), kubeconfig())
    ]
    assert documents[0] == documents[1]


def test_context_and_cluster_choose_within_the_kubeconfig():
    document = ProviderSettings.parse(
        {"kubeconfig": kubeconfig(), "context": "y", "cluster": "c"}, {}
    ).kubeconfig_document()
    assert document["current-context"] == "y"
    assert document["contexts"][1]["context"]["cluster"] == "c"


@pytest.mark.parametrize(
    ("args", "expected"),
    [({}, "default"), ({"namespace": "mine"}, "mine"), ({"kubeconfig": kubeconfig(namespace="ctx")}, "ctx")],
)
def test_the_default_namespace_is_the_providers_then_the_contexts(args, expected):
    settings = ProviderSettings.parse({"kubeconfig": kubeconfig()} | args, {})
    assert settings.default_namespace() == expected


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"kubeconfig": "/no/such/file"}, "/no/such/file cannot be read: No such file"),
        ({"kubeconfig": "a: [\nb"}, "not YAML"),
        ({"kubeconfig": "{}"}, "has no clusters"),
        ({"kubeconfig": kubeconfig(), "context": "z"}, "no context 'z'; it has: x, y"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named_with_its_fault(args, message):
    with pytest.raises(ProblemError, match=message):
        ProviderSettings.parse(args, {}).kubeconfig_document()


@pytest.mark.parametrize("args", [{"enableServerSideApply": "false"}, {"renderYamlToDirectory": "out"}])
def test_a_mode_that_is_not_served_is_refused(args):
    with pytest.raises(ProblemError, match="bundled kubernetes plugin"):
        ProviderSettings.parse(args, {})


def test_flags_come_from_the_provider_then_the_environment():
    environment = {"PULUMI_K8S_DELETE_UNREACHABLE": "true", "PULUMI_K8S_ENABLE_PATCH_FORCE": "true"}
    settings = ProviderSettings.parse({"enablePatchForce": "false", "enableSecretMutable": True}, environment)
    assert (settings.delete_unreachable, settings.patch_force) == (True, False)
    assert settings.mutable == {"Secret"}


def test_an_unknown_kubeconfig_makes_a_provider_that_is_never_contacted():
    assert not ProviderSettings.parse({"kubeconfig": Secret(UNKNOWN)}, {}).known


def test_the_kubeconfig_is_not_in_the_settings_repr():
    assert "https://one" not in repr(ProviderSettings.parse({"kubeconfig": kubeconfig()}, {}))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"kubeconfig": kubeconfig()}, {"kubeconfig": kubeconfig()}, []),
        ({"kubeconfig": kubeconfig()}, {"kubeconfig": kubeconfig(namespace="n")}, []),
        ({"kubeconfig": kubeconfig()}, {"kubeconfig": kubeconfig("https://two")}, ["kubeconfig"]),
        ({"kubeconfig": kubeconfig()}, {"kubeconfig": kubeconfig(), "context": "y"}, ["context"]),
        ({"kubeconfig": kubeconfig()}, {"kubeconfig": UNKNOWN}, ["kubeconfig"]),
        ({"clusterIdentifier": "a"}, {"clusterIdentifier": "b"}, ["clusterIdentifier"]),
        (
            {"kubeconfig": kubeconfig(), "clusterIdentifier": "a"},
            {"kubeconfig": UNKNOWN, "clusterIdentifier": "a"},
            [],
        ),
    ],
)
def test_only_another_cluster_replaces_a_provider(old, new, expected):
    assert replaced_by(old, new) == expected
