"""Nodes that end, answer late or are full of other people's queues: who gets a 503, and for how long."""

import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pika
import pika.exceptions
import pytest

from lab.broker import ScratchBroker, ScratchCluster
from lab.link import Link
from tests.broker.saturation_filter import Filter
from tests.broker.saturation_server import Server, eventually

pytestmark = pytest.mark.broker

BASE_PORT = 23_500
PORT, LINKS = BASE_PORT + 40, BASE_PORT + 41
# A quorum queue whose only member so far is killed within a second of its declaration is lost.
MEMBERS_S = 5.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[ScratchCluster]:
    with ScratchCluster(tmp_path_factory.mktemp("cluster"), BASE_PORT) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def links(cluster) -> Iterator[list[Link]]:
    """The server reads each node through one of these."""
    with ExitStack() as running:
        ports = [int(node.prometheus_url.rpartition(":")[2]) for node in cluster.nodes]
        yield [running.enter_context(Link(LINKS + number, port)) for number, port in enumerate(ports)]


@pytest.fixture
def server(tmp_path, links) -> Iterator[Server]:
    nodes = [f"http://127.0.0.1:{link.port}" for link in links]
    server = Server(tmp_path, PORT, nodes[0], broker={"nodes": nodes})
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def make() -> Iterator[Callable[[ScratchBroker, str, str], Filter]]:
    made: list[Filter] = []

    def make(node: ScratchBroker, name: str, kind: str) -> Filter:
        made.append(Filter(node, name, kind))
        return made[-1]

    yield make
    for each in made:
        with suppress(pika.exceptions.AMQPError):
            each.leave()


def status(server: Server, name: str) -> int:
    return server.get(f"/v1/filters/{name}")[0]


def detailed(node: ScratchBroker, vhost: str) -> bytes:
    query = f"family=queue_coarse_metrics&family=queue_consumer_count&vhost={vhost}"
    with urllib.request.urlopen(f"{node.prometheus_url}/metrics/detailed?{query}", timeout=30) as answer:
        return answer.read()


def loaded(work: Filter, workers: int, busy: int) -> None:
    work.workers(workers)
    work.publish(busy)
    work.hold(busy)


def test_one_node_of_three_gone_leaves_only_filters_without_a_leader_unknown(server, cluster, make):
    one, two, three = cluster.nodes
    # Clients of the queues are on nodes that stay.
    replicated, stranded, elsewhere = (f"{name}-gone" for name in ("replicated", "stranded", "elsewhere"))
    server.use(replicated, stranded, elsewhere)
    make(three, replicated, "quorum").leave()
    make(three, stranded, "classic").leave()
    moved = make(one, replicated, "quorum")
    loaded(moved, 4, 3)
    loaded(make(two, elsewhere, "classic"), 2, 1)
    where = server.shows(replicated, unacked=3, consumers=4)
    server.shows(elsewhere, unacked=1, consumers=2)
    server.shows(stranded, consumers=0)
    time.sleep(MEMBERS_S)
    three.kill()
    eventually(lambda: status(server, stranded) == 503, "503 for the queue that died with its node")
    # Its new leader tells the same truth, and new counts of it are believed.
    server.shows(replicated, unacked=3, consumers=4)
    moved.publish(1)
    moved.hold(4)
    assert server.shows(replicated, unacked=4)["sampled_at"] > where["sampled_at"]
    assert server.shows(elsewhere, unacked=1, consumers=2)["source"] == "metrics-detailed"
    assert status(server, stranded) == 503
    three.start()
    server.shows(stranded, consumers=0)
    server.shows(replicated, unacked=4, consumers=4)


def test_a_leader_that_moves_leaves_a_frozen_row_that_is_not_believed(server, cluster, make):
    one, two, _ = cluster.nodes
    name = "moving"
    server.use(name)
    work = make(one, name, "quorum")
    loaded(work, 4, 2)
    server.shows(name, unacked=2, consumers=4)
    time.sleep(MEMBERS_S)
    cluster.move_leader(f"filter.{name}", two)
    work.finish(2)
    server.shows(name, unacked=0, consumers=4)
    work.publish(3)
    work.hold(3)
    for _ in range(20):
        server.shows(name, unacked=3, consumers=4)


def test_a_slow_node_makes_its_own_filters_old_and_nobody_elses(server, cluster, links, make):
    one, two, _ = cluster.nodes
    slow, quick = "slow", "quick"
    server.use(slow, quick)
    make(one, slow, "classic")
    make(two, quick, "classic")
    server.shows(slow, ready=0)
    server.shows(quick, ready=0)
    links[0].delay_s = 5.0
    try:
        eventually(lambda: status(server, slow) == 503, "503 for the filter on the slow node")
        ages = [server.shows(quick, ready=0)["age_s"] for _ in range(20)]
        assert max(ages) < 2.5
        assert status(server, slow) == 503
        outages = [line for line in server.log() if line["event"] == "broker node does not answer"]
        assert [line["why"] for line in outages] == ["no answer within 1 s"]
    finally:
        links[0].delay_s = 0.0
    server.shows(slow, ready=0)


def test_thousands_of_queues_of_others_cost_nothing_but_the_broker(server, cluster, make):
    node = cluster.nodes[0]
    server.use("ours")
    make(node, "ours", "classic").publish(1)
    others = 2_000
    node.control("add_vhost", "crowd")
    node.control("set_permissions", "-p", "crowd", "admin", ".*", ".*", ".*")
    crowd = pika.URLParameters(node.amqp_url.replace("/surge", "/crowd"))
    with pika.BlockingConnection(crowd) as connection:
        channel = connection.channel()
        for number in range(others):
            # One of them has the name of ours.
            channel.queue_declare(f"other-{number}" if number else "filter.ours")
        server.shows("ours", ready=1, consumers=0)
        sizes = [len(detailed(node, vhost)) for vhost in ("surge", "crowd")]
        assert sizes[0] * 20 < sizes[1]
    node.control("delete_vhost", "crowd")
    server.shows("ours", ready=1, consumers=0)


def test_a_process_that_slept_serves_nothing_that_is_older_than_it_says(server, cluster, make):
    server.use("asleep")
    work = make(cluster.nodes[0], "asleep", "classic")
    loaded(work, 3, 1)
    server.shows("asleep", unacked=1)
    with server.suspended():
        work.publish(1)
        work.hold(2)
        time.sleep(4.0)
    answered, body = server.get("/v1/filters/asleep")
    assert answered == 503 or body["unacked"] == 2
    server.shows("asleep", unacked=2, consumers=3)
