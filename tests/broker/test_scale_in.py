"""Jobs in hand by pod, as the marking process reads them from a real broker with its own user."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest

from lab.broker import ScratchBroker
from scale_in.broker import Broker, BrokerError
from surge.policy.topology import VHOST, users

pytestmark = pytest.mark.broker

BASE_PORT = 23_660
USER, PASSWORD = "scale-in.one", "read-the-channels"


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("broker"), BASE_PORT) as running:
        [user] = users({"scale-in": PASSWORD}, "one")
        running.control("add_user", USER, PASSWORD)
        running.control("set_user_tags", USER, *user["tags"])
        running.control("set_permissions", "-p", VHOST, USER, *user["permissions"].values())
        running.declare(["ghibli"])
        yield running


def worker(node: ScratchBroker, pod: str, slots: int) -> pika.BlockingConnection:
    parameters = pika.URLParameters(node.amqp_url)
    parameters.client_properties = {"connection_name": pod}
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=slots)
    channel.basic_consume("filter.ghibli", lambda *_: None)
    return connection


def jobs(node: ScratchBroker, folder: Path) -> Callable[[], dict[str, int]]:
    async def read() -> dict[str, int]:
        async with Broker([node.management_url], VHOST, folder / "credentials", None) as broker:
            return await broker.jobs()

    (folder / "credentials").write_text(f"{USER}:{PASSWORD}\n")
    return lambda: asyncio.run(read())


def test_it_sees_what_each_pod_has_in_hand_and_nobody_else(node, tmp_path):
    read = jobs(node, tmp_path)
    publisher = pika.BlockingConnection(pika.URLParameters(node.amqp_url)).channel()
    one, two = worker(node, "ghibli-a", 3), worker(node, "ghibli-b", 1)
    for _ in range(5):
        publisher.basic_publish("", "filter.ghibli", b"photo")
    eventually(lambda: read() == {"ghibli-a": 3, "ghibli-b": 1})
    one.close()
    eventually(lambda: read() == {"ghibli-b": 1})
    two.close()
    eventually(lambda: read() == {})


def test_a_broker_that_refuses_or_is_away_is_an_error_and_not_an_idle_fleet(node, tmp_path):
    read = jobs(node, tmp_path)
    (tmp_path / "credentials").write_text(f"{USER}:wrong\n")
    with pytest.raises(BrokerError, match="401"):
        read()
    nobody = Broker(["http://127.0.0.1:9"], VHOST, tmp_path / "credentials", None)

    async def ask() -> None:
        async with nobody:
            await nobody.jobs()

    with pytest.raises(BrokerError, match="ClientConnectorError"):
        asyncio.run(ask())


def eventually(check: Callable[[], bool], patience_s: float = 30) -> None:
    end = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < end
        time.sleep(0.3)
