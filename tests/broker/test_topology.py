"""surge:broker:Topology against a real RabbitMQ node, through the resource's own operations."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pika
import pytest

from lab.broker import ScratchBroker
from providers.surge import broker_resource
from providers.surge.broker_resource import BrokerTopology
from providers.surge.management import Management
from providers.surge.problems import ProblemError
from providers.surge.provider import Work
from providers.surge.values import plain, wrap
from surge.policy.topology import FilterQueue, of_filters, users
from tests.broker.saturation_server import eventually

pytestmark = pytest.mark.broker

BASE_PORT = 23_390
VHOST = "fleet"


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    """A node that still boots: whoever asks first must wait for it."""
    node = ScratchBroker(tmp_path_factory.mktemp("node"), BASE_PORT, statistics_s=0.5)
    with ThreadPoolExecutor(1) as threads:
        booting = threads.submit(node.start)
        yield node
        booting.result()
        node.stop()


@pytest.fixture
def admin(node) -> Management:
    return Management(node.management_url, "admin", node.admin_password)


@pytest.fixture(autouse=True)
def nothing_is_left_for_the_next_test(admin) -> Iterator[None]:
    yield
    admin.send("DELETE", ("vhosts", VHOST))
    admin.send("DELETE", ("users", "worker"))


@pytest.fixture(autouse=True)
def counts_are_fresh_soon(monkeypatch):
    monkeypatch.setattr(broker_resource, "COUNTED_S", 2.0)


@pytest.fixture
def inputs(node):
    def inputs(**changes):
        values = {
            "management_url": node.management_url,
            "admin_user": "admin",
            "admin_password": node.admin_password,
            "vhost": VHOST,
            "exchanges": [{"name": "filters", "type": "direct"}],
            "queues": [{"name": "q", "type": "quorum", "arguments": {"x-overflow": "reject-publish"}}],
            "bindings": [{"source": "filters", "destination": "q", "routing_key": "k"}],
            "policies": [{"name": "limits", "pattern": "^q$", "definition": {"delivery-limit": 5}}],
            "users": [{"name": "worker", "password": "hunter2", "permissions": {"read": "^q$"}}],
            **changes,
        }
        checked, problems = BrokerTopology().check(
            "topology", {key: wrap(value) for key, value in values.items()}
        )
        assert problems == []
        return checked

    return inputs


def work(preview=False, lines=None):
    return Work(preview, threading.Event(), (lines if lines is not None else []).append)


def publish(node: ScratchBroker, key: str, exchange: str = "filters") -> None:
    url = node.amqp_url.rpartition("/")[0] + f"/{VHOST}"
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(exchange, key, b"photo", mandatory=True)


def names(admin: Management, *path: str) -> list[str]:
    return [item["name"] for item in admin.get(*path)]


def limits(admin: Management, queue: str) -> dict[str, int]:
    """Those in force, as the queue itself has told."""
    return eventually(
        lambda: admin.get("queues", VHOST, queue).get("effective_policy_definition"), f"the limits of {queue}"
    )


def test_the_life_of_a_topology_from_a_booting_node_to_its_end(node, admin, inputs):
    topology = BrokerTopology()
    _, state = topology.create("topology", inputs(), work())
    assert state["admin_password"].is_secret
    assert state["users"].value[0].value["password"].is_secret
    assert plain(state["adopted"]) == []
    assert plain(topology.read(VHOST, state)["missing"]) == []
    assert topology.diff(state, inputs()).changes is False

    admin.send("DELETE", ("bindings", VHOST, "e", "filters", "q", "q", "k"))
    admin.send("PUT", ("users", "worker"), {"password": "other", "tags": ""})
    admin.send("DELETE", ("policies", VHOST, "limits"))
    drifted = topology.read(VHOST, state)
    mended = ["create policy limits", "create binding filters -> q ('k')", "update user worker"]
    assert plain(drifted["missing"]) == mended
    assert topology.diff(drifted, inputs()).changes is True
    state = topology.update(VHOST, drifted, inputs(), work())
    assert plain(topology.read(VHOST, state)["missing"]) == []

    lines = []
    more = inputs(
        queues=[*plain(inputs()["queues"]), {"name": "r"}],
        policies=[{"name": "limits", "pattern": "^q$", "definition": {"delivery-limit": 7}}],
    )
    topology.update(VHOST, state, more, work(preview=True, lines=lines))
    change = "{'delivery-limit': 5} -> {'delivery-limit': 7}"
    assert lines == [f"update policy limits (definition: {change}); create queue r"]
    state = topology.update(VHOST, state, more, work())
    assert limits(admin, "q") == {"delivery-limit": 7}
    other = inputs(queues=[{"name": "q", "arguments": {"x-overflow": "drop-head"}}])
    with pytest.raises(ProblemError, match="x-overflow: 'reject-publish' -> 'drop-head'"):
        topology.update(VHOST, state, other, work())

    topology.delete(VHOST, state)
    assert VHOST not in names(admin, "vhosts")
    assert "worker" not in names(admin, "users")


def test_a_queue_that_holds_a_message_is_deleted_only_by_name(node, admin, inputs):
    topology = BrokerTopology()
    _, state = topology.create("topology", inputs(), work())
    publish(node, "k")
    eventually(lambda: admin.get("queues", VHOST, "q").get("messages") == 1, "the message")
    with pytest.raises(ProblemError, match=r'queue q holds 1 messages.*delete-non-empty: \["q"\]'):
        topology.delete(VHOST, state)
    publish(node, "k")
    allowed = topology.update(VHOST, state, inputs(delete_non_empty=["q"]), work())
    topology.delete(VHOST, allowed)
    assert VHOST not in names(admin, "vhosts")


def test_a_message_that_no_count_shows_yet_is_seen_before_its_queue_is_deleted(
    node, admin, inputs, monkeypatch
):
    """The API's counts are old: what came a moment ago is found once nothing more can come."""
    topology = BrokerTopology()
    _, state = topology.create("topology", inputs(), work())
    real, looks = broker_resource.read_live, []

    def read_live(management, wanted):
        live = real(management, wanted)
        if not looks:
            publish(node, "k")
        looks.append(live.queues["q"].get("messages"))
        return live

    monkeypatch.setattr(broker_resource, "read_live", read_live)
    with pytest.raises(ProblemError, match="queue q holds 1 messages"):
        topology.delete(VHOST, state)
    assert not looks[0]
    monkeypatch.setattr(broker_resource, "read_live", real)
    assert plain(topology.read(VHOST, state)["missing"]) == []
    publish(node, "k")
    eventually(lambda: admin.get("queues", VHOST, "q").get("messages") == 2, "both messages")
    with pytest.raises(ProblemError, match="queue q holds 2 messages"):
        topology.update(VHOST, state, inputs(queues=[], bindings=[]), work())
    topology.delete(VHOST, topology.update(VHOST, state, inputs(delete_non_empty=["q"]), work()))


def test_what_was_there_before_is_used_and_never_deleted(node, admin, inputs):
    admin.send("PUT", ("vhosts", VHOST), {})
    admin.send("PUT", ("exchanges", VHOST, "filters"), {"type": "direct", "durable": True, "arguments": {}})
    arguments = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
    admin.send("PUT", ("queues", VHOST, "q"), {"durable": True, "arguments": arguments})
    admin.send("PUT", ("queues", VHOST, "foreign"), {"durable": True, "arguments": arguments})
    publish(node, "q", exchange="")
    topology = BrokerTopology()
    _, state = topology.create("topology", inputs(), work())
    assert set(plain(state["adopted"])) == {"vhost", "exchange filters", "queue q"}
    topology.delete(VHOST, state)
    assert set(names(admin, "queues", VHOST)) == {"q", "foreign"}
    assert "filters" in names(admin, "exchanges", VHOST)
    assert admin.get("bindings", VHOST, "e", "filters", "q", "q") == []
    assert "worker" not in names(admin, "users")


def test_a_user_and_a_policy_of_somebody_else_are_refused_until_they_are_named(node, admin, inputs):
    admin.send("PUT", ("vhosts", VHOST), {})
    admin.send("PUT", ("users", "worker"), {"password": "of-others", "tags": ""})
    theirs = {"pattern": "^x", "apply-to": "queues", "definition": {"max-length": 9}, "priority": 0}
    admin.send("PUT", ("policies", VHOST, "limits"), theirs)
    topology = BrokerTopology()
    with pytest.raises(ProblemError, match=r'adopt: \["user worker", "policy limits"\]'):
        topology.create("topology", inputs(), work())
    assert names(admin, "queues", VHOST) == []
    assert admin.get("policies", VHOST, "limits")["definition"] == {"max-length": 9}
    _, state = topology.create("topology", inputs(adopt=["user worker", "policy limits"]), work())
    topology.delete(VHOST, state)
    assert "worker" in names(admin, "users")
    assert "limits" in names(admin, "policies", VHOST)


def test_two_clusters_share_a_broker_and_one_can_be_locked_out_alone(node, admin, inputs):
    shape = of_filters({"beard": FilterQueue(name="filter.beard")})
    topology = BrokerTopology()

    def of(cluster: str):
        return inputs(**shape, users=users({"worker": f"{cluster}-password"}, cluster))

    _, here = topology.create("here", of("seoul"), work())
    _, there = topology.create("there", of("aws"), work())
    for cluster in ("seoul", "aws"):
        assert consumes(node, f"worker.{cluster}", f"{cluster}-password", "filter.beard")
    topology.delete(VHOST, there)
    assert "queue filter.beard" in plain(there["adopted"])
    assert not consumes(node, "worker.aws", "aws-password", "filter.beard")
    assert consumes(node, "worker.seoul", "seoul-password", "filter.beard")
    topology.delete(VHOST, here)


def consumes(node: ScratchBroker, user: str, password: str, queue: str) -> bool:
    parameters = pika.ConnectionParameters(
        "127.0.0.1", node.amqp_port, VHOST, pika.PlainCredentials(user, password)
    )
    try:
        with pika.BlockingConnection(parameters) as connection:
            connection.channel().basic_consume(queue, lambda *_: None)
            return True
    except pika.exceptions.AMQPConnectionError:
        return False


def test_a_wrong_password_is_one_clear_line(node, inputs):
    with pytest.raises(ProblemError, match="refuses the user admin: nothing was changed"):
        BrokerTopology().create("topology", inputs(admin_password="wrong"), work())


def test_refresh_with_the_broker_down_is_drift_and_no_failure(inputs):
    state = {**inputs(management_url="http://127.0.0.1:23399"), "adopted": wrap([]), "missing": wrap([])}
    assert plain(BrokerTopology().read(VHOST, state)["missing"]) == ["broker does not answer"]


def test_a_filters_limits_are_changed_while_its_queue_lives(node, admin, inputs):
    def of(**limits):
        queues = {
            "beard": FilterQueue(name="filter.beard", **limits),
            "hair": FilterQueue(name="filter.hair"),
        }
        return inputs(**of_filters(queues, {"small": ["hair"]}), users=[])

    topology = BrokerTopology()
    _, state = topology.create("topology", of(delivery_limit=3, max_length=2, ttl_s=60), work())
    assert limits(admin, "filter.beard") == {"delivery-limit": 3, "max-length": 2, "message-ttl": 60_000}
    assert limits(admin, "filter.hair") == {"delivery-limit": 5}
    assert limits(admin, "filter.small") == {"delivery-limit": 1_000_000}
    for _ in range(2):
        publish(node, "beard")
    eventually(lambda: refused(node, "beard"), "the bound of two messages")
    state = topology.update(VHOST, state, of(max_length=100), work())
    eventually(lambda: not refused(node, "beard"), "room for more")
    assert plain(topology.read(VHOST, state)["missing"]) == []
    everything = [item["name"] for item in plain(of()["queues"])]
    cleared = topology.update(VHOST, state, {**of(), "delete_non_empty": wrap(everything)}, work())
    topology.delete(VHOST, cleared)


def refused(node: ScratchBroker, key: str) -> bool:
    try:
        publish(node, key)
    except pika.exceptions.NackError:
        return True
    return False
