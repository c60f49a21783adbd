"""Dead letters on a real broker."""

from collections.abc import Iterator

import pika
import pytest

from lab.broker import ScratchBroker
from surge.dead_letters import DeadLetters, Heap, Outcome
from surge.policy.topology import DEAD_LETTERS, EXCHANGE
from tests.broker.saturation_server import eventually

pytestmark = pytest.mark.broker

BASE_PORT = 23_840
FILTERS = ("beard", "ghibli", "gone")


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("node"), BASE_PORT) as node:
        node.declare(FILTERS)
        yield node


@pytest.fixture
def channel(node) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(node.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for queue in (DEAD_LETTERS, *(f"filter.{name}" for name in FILTERS[:2])):
            channel.queue_purge(queue)
        yield channel


def die(channel, name: str, *, id_: str) -> None:
    """A worker rejects a message."""
    properties = pika.BasicProperties(message_id=id_, headers={"user": 7}, delivery_mode=2)
    channel.basic_publish(EXCHANGE, name, b"photo", properties)
    method = eventually(lambda: channel.basic_get(f"filter.{name}")[0], "the message")
    channel.basic_reject(method.delivery_tag, requeue=False)


def count(channel, queue: str) -> int:
    return channel.queue_declare(queue, passive=True).method.message_count


def dead(channel, *, of: int) -> None:
    eventually(lambda: count(channel, DEAD_LETTERS) == of, f"{of} dead letters")


def test_they_are_counted_by_filter_and_reason_and_stay(node, channel):
    for number in range(3):
        die(channel, "beard", id_=f"b{number}")
    die(channel, "ghibli", id_="g")
    dead(channel, of=4)
    for _ in range(7):  # more often than a worker's limit
        seen = DeadLetters(node.amqp_url).count()
        assert seen == {Heap("beard", "rejected"): 3, Heap("ghibli", "rejected"): 1}
    dead(channel, of=4)


def test_a_filters_letters_are_sent_again_as_new_and_the_others_stay(node, channel):
    die(channel, "beard", id_="b")
    die(channel, "ghibli", id_="g")
    dead(channel, of=2)
    numbers = []
    assert DeadLetters(node.amqp_url, numbers.append).retry("beard") == Outcome(done=1, left=0)
    assert numbers == [1, 2]
    dead(channel, of=1)
    method, properties, body = channel.basic_get("filter.beard")
    assert properties.headers == {"user": 7, "x-delivery-count": 0}
    assert (properties.message_id, body) == ("b", b"photo")
    assert not method.redelivered
    channel.basic_ack(method.delivery_tag)
    assert DeadLetters(node.amqp_url).retry() == Outcome(done=1, left=0)
    dead(channel, of=0)


def test_a_letter_whose_queue_is_gone_stays(node, channel):
    die(channel, "gone", id_="x")
    dead(channel, of=1)
    channel.queue_delete("filter.gone")
    assert DeadLetters(node.amqp_url).retry() == Outcome(done=0, left=1)
    dead(channel, of=1)
    assert DeadLetters(node.amqp_url).drop("beard") == Outcome(done=0, left=0)
    assert DeadLetters(node.amqp_url).drop("gone") == Outcome(done=1, left=0)
    dead(channel, of=0)
