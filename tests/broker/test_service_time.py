"""Service time learnt from what a real broker counts."""

import threading
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlencode

import pika
import pytest

from lab.broker import ScratchBroker
from metrics_server.sources.acknowledgements import BY_CHANNEL, BY_QUEUE, acknowledged, acknowledged_pattern
from metrics_server.sources.metrics_detailed import FAMILIES, Parser
from surge.policy.history import History
from surge.policy.service_time import ServiceTime, acked_since
from surge.policy.topology import VHOST
from tests.broker.saturation_server import Server, eventually

pytestmark = pytest.mark.broker

BASE_PORT = 23_740
QUEUE, WORKERS, MESSAGES, SERVICE_S, CATALOGUE_S = "filter.slow", 4, 60, 0.4, 0.1


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("broker"), BASE_PORT) as node:
        yield node


def read(broker: ScratchBroker, families: str) -> bytes:
    url = f"{broker.prometheus_url}/metrics/detailed?{families}&vhost={VHOST}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def counters(broker: ScratchBroker) -> dict[bytes, float]:
    body = read(broker, f"family={BY_CHANNEL}&family={BY_QUEUE}")
    return acknowledged(body, acknowledged_pattern(VHOST)).get(QUEUE.encode(), {})


def work(url: str, ended: threading.Event) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        for method, _, _ in channel.consume(QUEUE, inactivity_timeout=0.1):
            if method:
                connection.sleep(SERVICE_S)
                channel.basic_ack(method.delivery_tag)
            elif ended.is_set():
                return


@pytest.fixture
def busy(broker) -> Iterator[None]:
    """MESSAGES for a few workers to acknowledge, each after SERVICE_S."""
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        for _ in range(MESSAGES):
            channel.basic_publish("", QUEUE, b"")
    ended = threading.Event()
    workers = [threading.Thread(target=work, args=(broker.amqp_url, ended)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    yield
    ended.set()
    for worker in workers:
        worker.join()


def test_the_service_time_of_real_workers_is_learnt_from_a_catalogue_that_is_wrong(broker, busy):
    history, learnt, total = watch(broker)
    assert total == MESSAGES
    assert history.busy_s > 0
    # The catalogue still counts as twenty messages; a slow machine makes it longer, never shorter.
    assert learnt.seconds > 0.7 * (MESSAGES * SERVICE_S + 20 * CATALOGUE_S) / (MESSAGES + 20)


@pytest.fixture
def server(tmp_path, broker) -> Iterator[Server]:
    server = Server(tmp_path, BASE_PORT + 10, broker.prometheus_url)
    server.use("slow")
    server.start()
    yield server
    assert server.stop() == 0


def test_the_server_says_what_it_has_learnt(server, busy):
    def inputs() -> dict[str, float | str]:
        status, answer = server.get("/v1/filters/slow/explain")
        seen = answer["inputs"] if status == 200 else {}
        return seen if seen.get("service_s_known", 0) > 0.5 else {}

    seen = eventually(inputs, "a service time that is known", 60)
    assert seen["service_s_from"] == "acknowledgements"
    assert seen["service_s"] < 1  # the catalogue's


def watch(broker: ScratchBroker) -> tuple[History, ServiceTime, float]:
    """What a metric server sees and learns until every message is acknowledged."""
    history, learnt = History(300.0, CATALOGUE_S), ServiceTime(CATALOGUE_S)
    before: dict[bytes, float] = {}
    total, end = 0.0, time.monotonic() + 60
    while total < MESSAGES:
        assert time.monotonic() < end, f"{total} of {MESSAGES} acknowledgements seen within 60 s"
        at = time.monotonic()
        counts = Parser(VHOST)(read(broker, urlencode(FAMILIES))).get(QUEUE.encode())
        if counts:
            history.append(at, counts.unacked, counts.ready)
            now = counters(broker)
            acked = acked_since(before, now)
            learnt.append(at, acked, history.busy_s)
            before, total = now, total + (acked or 0.0)
        time.sleep(0.25)
    return history, learnt, total
