"""Where the numbers come from: metrics listener or management API, and the rights that takes."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import pytest

from lab.broker import ScratchBroker
from lab.link import Link
from surge.policy.topology import users
from tests.broker.saturation_filter import Filter
from tests.broker.saturation_server import Server, eventually

pytestmark = pytest.mark.broker

BASE_PORT = 23_460
PORT, METRICS, TLS = BASE_PORT + 6, BASE_PORT + 7, BASE_PORT + 8
NOBODY = BASE_PORT + 9
ROLE, PASSWORD = "saturation", "of-the-tests: 0123456789"


class Management:
    """The broker's management API, in the name of one user."""

    def __init__(self, node: ScratchBroker, user: str, password: str) -> None:
        self.url = node.management_url
        self.auth = base64.b64encode(f"{user}:{password}".encode()).decode()

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/{path}", data, method=method)
        request.add_header("Authorization", f"Basic {self.auth}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("node"), BASE_PORT) as node:
        admin = Management(node, "admin", node.admin_password)
        (role,) = users({"saturation": PASSWORD}, "tests")
        admin("PUT", f"users/{ROLE}", {"password": PASSWORD, "tags": ",".join(role["tags"])})
        admin("PUT", f"permissions/surge/{ROLE}", role["permissions"])
        admin("PUT", "vhosts/other")
        admin("PUT", "permissions/other/admin", {"configure": ".*", "write": ".*", "read": ".*"})
        admin("PUT", "queues/other/filter.secret", {"durable": True})
        yield node


@pytest.fixture
def admin(node) -> Management:
    return Management(node, "admin", node.admin_password)


@pytest.fixture
def serve(tmp_path, node) -> Iterator[Callable[..., Server]]:
    """Start a server that reads in these ways, with the role's credentials beside its settings."""
    with ExitStack() as running:

        def serve(**broker: Any) -> Server:
            (tmp_path / "credentials").write_text(f"{ROLE}:{PASSWORD}\n")
            broker = {"credentials_file": "credentials", "management": [node.management_url], **broker}
            server = Server(tmp_path, PORT, f"http://127.0.0.1:{METRICS}", broker=broker)
            server.start()
            running.callback(server.stop)
            return server

        yield serve


@pytest.fixture
def make(node) -> Iterator[Callable[[str, str], Filter]]:
    with ExitStack() as made:

        def make(name: str, kind: str) -> Filter:
            work = Filter(node, name, kind)
            made.callback(work.leave)
            return work

        yield make


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_the_management_api_tells_the_truth_too(serve, make, kind):
    server = serve(source="management")
    name = f"managed-{kind}"
    server.use(name)
    work = make(name, kind)
    work.workers(10)
    work.publish(7)
    work.hold(7)
    seen = server.shows(name, unacked=7, ready=0, consumers=10, active_ratio=0.7)
    assert seen["source"] == "management"
    work.publish(8)
    work.hold(10)
    server.shows(name, unacked=10, ready=5, consumers=10, active_ratio=1)
    work.main.queue_delete(work.queue)
    eventually(lambda: server.get(f"/v1/filters/{name}")[0] == 503, "503 for the deleted queue")


def test_more_queues_than_a_page_holds_are_all_read(serve, node):
    names = [f"page-{number:04}" for number in range(1_100)]
    with pika.BlockingConnection(pika.URLParameters(node.amqp_url)) as connection:
        channel = connection.channel()
        for name in names:
            channel.queue_declare(f"filter.{name}")
        server = serve(source="management")
        server.use(*names)
        eventually(lambda: len(server.get("/v1/filters")[1]["filters"]) == len(names), "every queue")
        for name in names:
            channel.queue_delete(f"filter.{name}")


def test_auto_reads_metrics_when_it_can_and_management_while_it_cannot(serve, make, node):
    make("either", "quorum")
    server = serve()
    server.use("either")
    assert server.shows("either", ready=0)["source"] == "management"
    with Link(METRICS, int(node.prometheus_url.rpartition(":")[2])):
        server.shows("either", source="metrics-detailed")
        assert server.get("/v1/filters/either")[1]["settled"] is False
    eventually(
        lambda: server.get("/v1/filters/either")[1].get("source") == "management", "management once more"
    )
    chosen = [line["source"] for line in server.log() if line["event"] == "source chosen"]
    assert chosen == ["management", "metrics-detailed", "management"]


def test_the_next_management_listener_is_asked_when_one_is_gone(serve, make, node):
    make("next", "quorum")
    server = serve(source="management", management=[f"http://127.0.0.1:{NOBODY}", node.management_url])
    server.use("next")
    server.shows("next", ready=0)


def test_a_new_password_is_taken_up_and_an_old_one_is_a_503_that_names_no_secret(serve, make, admin):
    make("rotated", "quorum")
    server = serve(source="management")
    server.use("rotated")
    server.shows("rotated", ready=0)
    fresh = "another: 9876543210"
    admin("PUT", f"users/{ROLE}", {"password": fresh, "tags": "management"})
    try:
        eventually(lambda: server.get("/v1/filters/rotated")[0] == 503, "503 for the old password")
        (server.folder / "credentials").write_text(f"{ROLE}:{fresh}\n")
        server.shows("rotated", ready=0)
    finally:
        admin("PUT", f"users/{ROLE}", {"password": PASSWORD, "tags": "management"})
    said = (server.folder / "server.log").read_text()
    assert "status 401" in said
    assert PASSWORD not in said
    assert fresh not in said


def test_a_broker_behind_tls_must_show_a_certificate_of_a_known_authority(serve, make, node, tmp_path):
    make("tls", "quorum")
    server = serve(source="management", management=[f"https://127.0.0.1:{TLS}"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    with Link(TLS, int(node.management_url.rpartition(":")[2]), tls=context):
        server.stop()
        server.use("tls")
        server.start()
        eventually(lambda: "certificate is refused" in _said(server), "the refusal in the log")
        assert server.get("/v1/filters/tls")[0] == 503
        server.stop()
        trusting = serve(source="management", management=[f"https://127.0.0.1:{TLS}"], ca_file="tls.crt")
        context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
        trusting.use("tls")
        trusting.shows("tls", ready=0)


def _said(server: Server) -> str:
    return Path(server.folder / "server.log").read_text()


READ = ("GET", "queues/surge?columns=name,messages_ready,messages_unacknowledged,consumers", None)
MESSAGE = {"properties": {}, "routing_key": "filter.own", "payload": "x", "payload_encoding": "string"}
REFUSED = [
    ("GET", "queues/other", None),
    ("GET", "queues/other/filter.secret", None),
    ("POST", "queues/surge/filter.own/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}),
    ("DELETE", "queues/surge/filter.own", None),
    ("DELETE", "queues/surge/filter.own/contents", None),
    ("PUT", "queues/surge/filter.new", {}),
    ("PUT", "exchanges/surge/new", {"type": "direct"}),
    ("POST", "bindings/surge/e/amq.direct/q/filter.own", {"routing_key": "x"}),
    ("POST", "exchanges/surge/amq.default/publish", MESSAGE),
    ("PUT", "policies/surge/new", {"pattern": ".*", "definition": {"max-length": 1}}),
    ("PUT", "vhosts/new", {}),
    ("GET", "users", None),
    ("GET", "definitions", None),
    ("GET", "nodes", None),
    ("GET", "permissions", None),
]


def test_the_role_reads_the_counts_of_its_vhost_and_nothing_else(node, make):
    make("own", "quorum").publish(1)
    ask = Management(node, ROLE, PASSWORD)
    status, queues = ask(*READ)
    assert status == 200
    assert "filter.own" in {queue["name"] for queue in queues}
    assert {queue["vhost"] for queue in ask("GET", "queues")[1]} == {"surge"}
    for refused in REFUSED:
        status, body = ask(*refused)
        assert status in {400, 401, 403}, (refused, status, body)
        assert body["reason"], refused


@pytest.mark.parametrize(
    "act",
    [
        lambda channel: channel.queue_declare("filter.new"),
        lambda channel: channel.queue_delete("filter.own"),
        lambda channel: channel.queue_purge("filter.own"),
        lambda channel: channel.queue_bind("filter.own", "amq.direct", "x"),
        lambda channel: channel.exchange_declare("new"),
        lambda channel: channel.basic_get("filter.own"),
        lambda channel: channel.basic_consume("filter.own", lambda *_: None),
        lambda channel: (channel.confirm_delivery(), channel.basic_publish("", "filter.own", b"x")),
        lambda channel: (channel.confirm_delivery(), channel.basic_publish("amq.direct", "x", b"x")),
    ],
)
def test_over_amqp_the_role_can_do_nothing_to_a_queue(node, make, act):
    make("own", "quorum")
    credentials = pika.PlainCredentials(ROLE, PASSWORD)
    parameters = pika.ConnectionParameters("127.0.0.1", node.amqp_port, "surge", credentials)
    with pika.BlockingConnection(parameters) as connection:
        assert connection.channel().queue_declare("filter.own", passive=True).method.consumer_count == 0
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
            act(connection.channel())
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
        pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", node.amqp_port, "other", credentials))
