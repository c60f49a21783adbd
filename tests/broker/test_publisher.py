"""The publisher against a real broker: what it counts is what the broker has, through a crash too."""

import time
from collections import Counter
from collections.abc import Iterator
from threading import Event, Thread

import pika
import pytest

from lab.broker import ScratchBroker
from lab.publisher import Publisher, PublishRefusedError

pytestmark = pytest.mark.broker

BASE_PORT = 23_710


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("broker"), BASE_PORT) as node:
        node.declare(["ghibli", "sketch"])
        yield node


@pytest.fixture
def broker(node) -> ScratchBroker:
    """The node with empty queues."""
    for name in ("ghibli", "sketch"):
        taken(node, name)
    return node


def taken(broker: ScratchBroker, name: str) -> list[pika.BasicProperties]:
    """Everything in a filter's queue, taken out of it."""
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        channel = connection.channel()
        found: list[pika.BasicProperties] = []
        while True:
            method, properties, _ = channel.basic_get(f"filter.{name}", auto_ack=True)
            if method is None:
                return found
            found.append(properties)


def test_every_message_counted_is_in_its_queue_with_the_time_it_was_due(broker):
    publisher = Publisher(broker.amqp_url, Event())
    start = time.time()
    dues = [start + number / 100 for number in range(40)]
    for number, due in enumerate(dues):
        assert publisher.publish_at(due, ("ghibli", "sketch")[number % 2])
    publisher.close()

    for name in ("ghibli", "sketch"):
        found = taken(broker, name)
        counted = {key: at for (of_filter, key), at in publisher.published.items() if of_filter == name}
        assert {each.message_id for each in found} == set(counted)
        assert len(found) == 20
        for each in found:
            assert each.delivery_mode == 2
            assert each.headers is not None
            assert each.headers["published-at-us"] == int(counted[each.message_id] * 1e6)
    assert sorted(publisher.published.values()) == dues


def test_a_broker_that_crashes_and_comes_back_loses_no_message_and_none_counts_twice(broker):
    stop = Event()
    publisher = Publisher(broker.amqp_url, stop)
    start = time.time()
    dues = [start + number / 50 for number in range(400)]
    results: list[bool] = []
    thread = Thread(target=lambda: results.extend(publisher.publish_at(due, "ghibli") for due in dues))
    thread.start()
    try:
        while len(publisher.published) < 50:
            time.sleep(0.02)
        broker.kill()
        before = len(publisher.published)
        broker.start()
        thread.join(120)
        assert not thread.is_alive()
    finally:
        stop.set()
        thread.join()
    publisher.close()

    assert 50 <= before < len(dues)
    assert results == [True] * len(dues)
    assert len(publisher.published) == len(dues)
    held = Counter(each.message_id for each in taken(broker, "ghibli"))
    assert set(held) == {key for _, key in publisher.published}
    # The one message whose confirm was lost may be there twice, under one id.
    assert held.total() <= len(dues) + 1


def test_what_was_due_before_the_broker_was_there_is_no_lag_of_the_publisher(broker):
    publisher = Publisher(broker.amqp_url, Event())
    due = time.time() - 30
    assert publisher.publish("ghibli", due)
    publisher.close()
    assert publisher.lag_s == 0
    assert list(publisher.published.values()) == [due]


def test_a_late_message_is_lag_while_the_broker_is_there(broker):
    publisher = Publisher(broker.amqp_url, Event())
    assert publisher.publish("ghibli")
    due = time.time()
    time.sleep(0.2)
    assert publisher.publish("ghibli", due)
    publisher.close()
    assert publisher.lag_s >= 0.2


def test_a_filter_without_a_queue_is_refused_with_the_next_command(broker):
    publisher = Publisher(broker.amqp_url, Event())
    with pytest.raises(PublishRefusedError, match=r"no queue for filter nobody.*surge up local"):
        publisher.publish("nobody")
    publisher.close()
    assert not publisher.published


def test_a_wrong_password_is_refused_and_not_tried_for_ever(broker):
    publisher = Publisher(broker.amqp_url.replace(broker.admin_password, "wrong"), Event())
    with pytest.raises(PublishRefusedError, match="refuses the publisher's user"):
        publisher.publish("ghibli")


def test_a_stop_ends_the_wait_for_a_broker_that_is_away(broker):
    stop = Event()
    publisher = Publisher(broker.amqp_url, stop)
    broker.stop()
    results: list[bool] = []
    thread = Thread(target=lambda: results.append(publisher.publish("ghibli")))
    thread.start()
    stop.set()
    thread.join(60)
    broker.start()
    assert results == [False]
    assert not publisher.published
