"""surge:broker:Topology against a real RabbitMQ node, through the resource's own operations."""

import base64
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from providers.surge.broker_resource import BrokerTopology
from providers.surge.problems import ProblemError
from providers.surge.provider import Work
from providers.surge.values import plain, wrap
from surge.policy.topology import FilterQueue

pytestmark = pytest.mark.broker

AMQP, MANAGEMENT, DIST, EPMD = 23390, 23391, 23392, 23393
URL = f"http://127.0.0.1:{MANAGEMENT}"


def api(method, path, body=None):
    request = urllib.request.Request(
        f"{URL}/api/{path}", method=method, data=None if body is None else json.dumps(body).encode()
    )
    request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
        return json.loads(text) if text else None


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.local = 127.0.0.1:{AMQP}\nmanagement.tcp.ip = 127.0.0.1\n"
        f"management.tcp.port = {MANAGEMENT}\ncollect_statistics_interval = 500\n"
    )
    (folder / "advanced.config").write_text("[{rabbit,[{quorum_tick_interval,500}]}].\n")
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RABBITMQ_NODENAME": "topology@localhost",
        "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
        "RABBITMQ_PID_FILE": f"{folder}/pid",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_DIST_PORT": str(DIST),
        "ERL_EPMD_PORT": str(EPMD),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    commands = (
        ["epmd", "-port", str(EPMD), "-address", "127.0.0.1"],
        ["/usr/lib/rabbitmq/bin/rabbitmq-server"],
    )
    with (folder / "node.log").open("ab") as log:
        processes = []
        for command in commands:
            processes.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            )
            time.sleep(0.3)
    yield folder
    for process in reversed(processes):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def inputs(**changes):
    values = {
        "management_url": URL,
        "admin_user": "guest",
        "admin_password": "guest",
        "vhost": "surge",
        "exchanges": [{"name": "filters", "type": "direct"}],
        "queues": [{"name": "q", "type": "quorum", "arguments": {"x-delivery-limit": 5}}],
        "bindings": [{"source": "filters", "destination": "q", "routing_key": "k"}],
        "users": [
            {"name": "worker", "password": "hunter2", "permissions": {"read": "^q$"}},
        ],
        **changes,
    }
    checked, problems = BrokerTopology().check(
        "topology", {key: wrap(value) for key, value in values.items()}
    )
    assert problems == []
    return checked


def work(preview=False, lines=None):
    return Work(preview, threading.Event(), (lines if lines is not None else []).append)


def test_the_life_of_a_topology_from_a_booting_node_to_its_end(node):
    topology = BrokerTopology()
    # The node still boots here: the first request must wait for it.
    _, state = topology.create("topology", inputs(), work())
    assert state["admin_password"].is_secret
    assert state["users"].value[0].value["password"].is_secret
    assert plain(topology.read("surge", state)["missing"]) == []
    assert topology.diff(state, inputs()).changes is False
    _, adopted = topology.create("topology", inputs(), work())
    assert plain(adopted["vhost_made"]) is False

    api("DELETE", "bindings/surge/e/filters/q/q/k")
    api("PUT", "users/worker", {"password": "other", "tags": ""})
    drifted = topology.read("surge", state)
    assert plain(drifted["missing"]) == ["create binding filters -> q ('k')", "update user worker"]
    assert topology.diff(drifted, inputs()).changes is True
    state = topology.update("surge", drifted, inputs(), work())
    assert plain(topology.read("surge", state)["missing"]) == []

    lines = []
    more = inputs(queues=[{"name": "q", "arguments": {"x-delivery-limit": 5}}, {"name": "r"}])
    topology.update("surge", state, more, work(preview=True, lines=lines))
    assert lines == ["create queue r"]
    with pytest.raises(ProblemError, match="x-delivery-limit: 5 -> 6"):
        topology.update(
            "surge", state, inputs(queues=[{"name": "q", "arguments": {"x-delivery-limit": 6}}]), work()
        )

    message = {"properties": {}, "routing_key": "k", "payload": "x", "payload_encoding": "string"}
    assert api("POST", "exchanges/surge/filters/publish", message) == {"routed": True}
    deadline = time.monotonic() + 20
    while api("GET", "queues/surge/q").get("messages") != 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    with pytest.raises(ProblemError, match=r'queue q holds 1 messages.*delete_non_empty: \["q"\]'):
        topology.delete("surge", state)
    assert api("GET", "queues/surge/q")["name"] == "q"

    api("PUT", "exchanges/surge/foreign", {"type": "direct"})
    allowed = topology.update("surge", state, inputs(delete_non_empty=["q"]), work())
    topology.delete("surge", allowed)
    assert [item["name"] for item in api("GET", "queues/surge")] == []
    assert "foreign" in [item["name"] for item in api("GET", "exchanges/surge")]
    with pytest.raises(urllib.error.HTTPError):
        api("GET", "users/worker")


def test_a_wrong_password_is_one_clear_line(node):
    with pytest.raises(ProblemError, match="refuses the user guest: nothing was changed"):
        BrokerTopology().create("topology", inputs(admin_password="wrong"), work())


def test_refresh_with_the_broker_down_is_drift_and_no_failure():
    state = {**inputs(management_url="http://127.0.0.1:23399"), "vhost_made": wrap(True), "missing": wrap([])}
    assert plain(BrokerTopology().read("surge", state)["missing"]) == ["broker does not answer"]


def test_a_filters_queue_options_are_taken_and_read_back_as_they_are(node):
    options = FilterQueue(name="q", delivery_limit=3, max_length=1000, ttl_s=0.5)
    queues = [{"name": "q", "type": "quorum", "arguments": options.arguments}]
    wanted = inputs(vhost="options", queues=queues, exchanges=[{"name": "filters", "type": "direct"}])
    topology = BrokerTopology()
    _, state = topology.create("topology", wanted, work())
    assert plain(topology.read("options", state)["missing"]) == []
    assert topology.diff(state, wanted).changes is False
    seen = api("GET", "queues/options/q")["arguments"]
    assert (seen["x-delivery-limit"], seen["x-max-length"], seen["x-message-ttl"]) == (3, 1000, 500)
    topology.delete("options", state)
