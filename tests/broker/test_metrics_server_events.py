"""Consumers of this moment from a real broker's events, in the name of the server's own user."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from lab.broker import ScratchBroker
from metrics_server import Config, watch
from metrics_server.events import EXCHANGE, KEYS, SETTLE_S, Events
from metrics_server.watch import Watch
from surge.policy.demand import WINDOWS_S
from surge.policy.topology import EVENT_QUEUES, users
from tests.broker.saturation_filter import Filter
from tests.broker.saturation_server import eventually

pytestmark = pytest.mark.broker

BASE_PORT = 23_660
NAME, PASSWORD = "saturation", "of-the-tests"
RIGHTS = users({"saturation": PASSWORD}, "tests")[0]["permissions"]


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("node"), BASE_PORT) as node:
        node.control("add_user", NAME, PASSWORD)
        node.control("set_permissions", "-p", "surge", NAME, *RIGHTS.values())
        yield node


@pytest.fixture
def parameters(node) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        "127.0.0.1", node.amqp_port, "surge", pika.PlainCredentials(NAME, PASSWORD), heartbeat=0
    )


@pytest.fixture(params=["classic", "quorum"])
def work(request, node) -> Iterator[Filter]:
    work = Filter(node, f"live-{request.param}", request.param)
    yield work
    if work.connection.is_open:
        work.leave()


@pytest.fixture
def watching(tmp_path, node, monkeypatch) -> Callable[[str], Watch]:
    monkeypatch.setattr(watch, "ROUND_S", 0.5)
    monkeypatch.setattr(watch, "AGAIN_S", 0.3)
    (tmp_path / "credentials").write_text(f"{NAME}:{PASSWORD}\n")
    unused = Path("unused")
    config = Config(
        "127.0.0.1", 0, None, None, unused, ("http://127.0.0.1:1",), "surge", 2, 20, WINDOWS_S, unused,
        amqp=(f"amqp://127.0.0.1:{node.amqp_port}",), events=True, credentials_file=tmp_path / "credentials",
    )  # fmt: skip
    return lambda queue: Watch(config, ssl.create_default_context(), lambda: {"a": queue}, lambda _: None)


def shown(over: Watch) -> dict[str, float]:
    return {
        sample.name.removeprefix("surge_saturation_"): sample.value
        for family in over.collect()
        for sample in family.samples
    }


def shows(over: Watch, **wanted: float | None) -> None:
    eventually(
        lambda: all(shown(over).get(name) == value for name, value in wanted.items()),
        f"{wanted}, {shown(over)}",
    )


class Listener:
    """Events on a connection of the test's, with no declare but those it asks for."""

    def __init__(self, connection: pika.BlockingConnection, queue: str, count: int) -> None:
        self.connection, self.queue = connection, queue
        self.channel = connection.channel()
        self.events = Events("surge", wanted=True)
        self.events.attach(connection, [queue])
        self.events.ledger.resync(queue, count)

    def sees(self, count: int) -> None:
        def seen() -> bool:
            self.connection.process_data_events(0.05)
            return self.live == count

        eventually(seen, f"{count} consumers, now {self.live}")

    @property
    def live(self) -> int | None:
        return self.events.ledger.live(self.queue)

    def resync(self) -> None:
        self.events.count(self.channel, "a", self.queue, tries=0, doubts=0)
        self.connection.sleep(SETTLE_S)
        self.events.catch_up(self.connection)
        assert list(self.events.settle()) == []


def test_joins_and_leaves_are_seen_without_a_declare(work, parameters):
    work.workers(2)
    with pika.BlockingConnection(parameters) as connection:
        ours = Listener(connection, work.queue, 2)
        work.workers(3)
        ours.sees(5)
        work.cancel(1)
        ours.sees(4)
        work.channels[1][0].close()
        ours.sees(3)
        ours.resync()
        work.leave()
        ours.sees(0)
        assert ours.events.ledger.drift == 0


def test_lost_events_heal_at_the_resync(work, node, parameters):
    work.workers(3)
    with pika.BlockingConnection(parameters) as connection:
        ours = Listener(connection, work.queue, 3)
        names = node.control("list_queues", "-p", "surge", "name").split()
        (own,) = [name for name in names if name.startswith(EVENT_QUEUES)]
        for key in KEYS:
            ours.channel.queue_unbind(own, EXCHANGE, key)
        work.cancel(2)
        work.workers(5)
        for key in KEYS:
            ours.channel.queue_bind(own, EXCHANGE, key)
        connection.sleep(0.5)
        assert ours.live == 3
        ours.resync()
        assert (ours.live, ours.events.ledger.drift) == (6, 3)
        work.channels[-1][0].close()
        ours.sees(5)
        work.leave()
        ours.sees(0)


def test_the_watch_knows_nothing_while_the_broker_is_away_and_all_again_after(work, node, watching):
    over = watching(work.queue)
    with over.running():
        work.workers(2)
        shows(over, events_up=1, live_consumers=2)
        work.main.queue_delete(work.queue)
        shows(over, missing_queues=1, live_consumers=None)
        work.leave()
        node.stop()
        shows(over, events_up=0, watch_up=0, live_consumers=None)
        node.start()
        again = Filter(node, work.queue.removeprefix("filter."), "classic")
        again.workers(4)
        shows(over, events_up=1, live_consumers=4, missing_queues=0)
        again.main.queue_delete(again.queue)
        again.leave()


def test_without_the_rights_the_watch_goes_on_alone(work, node, watching):
    node.control("set_permissions", "-p", "surge", NAME, "", "", "")
    over = watching(work.queue)
    try:
        with over.running():
            shows(over, watch_up=1, events_up=0, missing_queues=0)
    finally:
        node.control("set_permissions", "-p", "surge", NAME, *RIGHTS.values())
    with over.running():
        shows(over, events_up=1, live_consumers=0)


OWN = f"{EVENT_QUEUES}.tests"


@pytest.mark.parametrize(
    "act",
    [
        lambda channel: channel.queue_declare(EVENT_QUEUES),
        lambda channel: channel.queue_declare(f"x.{OWN}"),
        lambda channel: channel.queue_bind(OWN, "amq.direct", "x"),
        lambda channel: channel.exchange_bind("amq.direct", EXCHANGE, "#"),
        lambda channel: channel.exchange_delete(EXCHANGE),
        lambda channel: (channel.confirm_delivery(), channel.basic_publish("", OWN, b"x")),
        lambda channel: (channel.confirm_delivery(), channel.basic_publish(EXCHANGE, "queue.deleted", b"x")),
        lambda channel: channel.queue_declare(
            f"{OWN}.dead", arguments={"x-dead-letter-exchange": "amq.direct"}
        ),
    ],
)
def test_the_rights_end_at_its_own_queue(parameters, act):
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare(OWN, exclusive=True)
        channel.queue_bind(OWN, EXCHANGE, "consumer.*")
        channel.basic_get(OWN)
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            act(connection.channel())
