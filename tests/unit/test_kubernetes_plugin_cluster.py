"""What an API server serves, and one that does not answer, as hundreds of resources ask for it at once."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from urllib3.exceptions import MaxRetryError

from toolchain.engine.kubernetes import cluster
from toolchain.engine.kubernetes.cluster import Cluster, Served
from toolchain.engine.kubernetes.kinds import Kind
from toolchain.engine.kubernetes.problems import UnreachableError
from toolchain.engine.kubernetes.settings import ProviderSettings

CONFIG_MAP = Kind("v1", "ConfigMap")
KUBECONFIG = {
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "c",
}
LISTED = json.dumps({"resources": [{"kind": "ConfigMap", "name": "configmaps", "namespaced": True}]})
SERVED = SimpleNamespace(status=200, read=lambda: LISTED)


@pytest.fixture
def server(monkeypatch):
    """A clock, and an API server that is gone until `back` is set; counts what it is asked."""
    state = SimpleNamespace(now=0.0, asked=0, back=False)

    def request(*_: Any, **__: Any) -> Any:
        state.asked += 1
        if not state.back:
            raise MaxRetryError(urllib3.HTTPConnectionPool("127.0.0.1", 1), "/api/v1")
        return SERVED

    monkeypatch.setattr(cluster.time, "monotonic", lambda: state.now)
    state.cluster = Cluster(ProviderSettings.parse({"kubeconfig": json.dumps(KUBECONFIG)}))
    monkeypatch.setattr(state.cluster._client, "call_api", request)
    return state


@pytest.mark.parametrize(
    ("namespaced", "asked", "path"),
    [
        (True, ("shop", "a"), "/apis/apps/v1/namespaces/shop/things/a"),
        (True, ("shop", ""), "/apis/apps/v1/namespaces/shop/things"),
        (True, ("", ""), "/apis/apps/v1/things"),
        (False, ("shop", "system:a"), "/apis/apps/v1/things/system%3Aa"),
        (True, ("shop", "a/status"), "/apis/apps/v1/namespaces/shop/things/a%2Fstatus"),
        (True, ("../kube-system", "a?b"), "/apis/apps/v1/namespaces/..%2Fkube-system/things/a%3Fb"),
    ],
)
def test_no_name_leads_out_of_its_place(namespaced, asked, path):
    assert Served("/apis/apps/v1", "things", namespaced).path(*asked) == path


def test_hundreds_of_resources_wait_for_a_server_that_is_gone_once(server):
    for _ in range(300):
        with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1 is unreachable"):
            server.cluster.resource(CONFIG_MAP)
    assert server.asked == 1


def test_a_server_that_is_back_is_found_a_little_later(server):
    with pytest.raises(UnreachableError):
        server.cluster.resource(CONFIG_MAP)
    server.back = True
    server.now = cluster.GONE_S
    assert server.cluster.resource(CONFIG_MAP).namespaced
    assert server.asked == 2
