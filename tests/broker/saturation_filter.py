"""A queue with workers that take messages and hold them until told to finish."""

import pika

from lab.broker import ScratchBroker
from tests.broker.saturation_server import eventually

__all__ = ["Filter"]


class Filter:
    """Works on one connection. `held`: the messages its workers have, newest last."""

    def __init__(self, node: ScratchBroker, name: str, kind: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(node.amqp_url + "?heartbeat=0"))
        self.queue, self.held = f"filter.{name}", []
        self.channels: list[tuple] = []
        self.main = self.connection.channel()
        self.main.confirm_delivery()
        self.main.queue_declare(self.queue, durable=True, arguments={"x-queue-type": kind})

    def workers(self, count: int) -> None:
        for _ in range(count):
            channel = self.connection.channel()
            channel.basic_qos(prefetch_count=1)
            tag = channel.basic_consume(
                self.queue, lambda on, method, *_: self.held.append((on, method.delivery_tag))
            )
            self.channels.append((channel, tag))

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.main.basic_publish("", self.queue, b"work", pika.BasicProperties(delivery_mode=2))

    def hold(self, count: int) -> None:
        def taken() -> bool:
            self.connection.process_data_events(0.05)
            return len(self.held) == count

        eventually(taken, f"{count} messages at the workers")

    def finish(self, count: int) -> None:
        for _ in range(count):
            channel, tag = self.held.pop()
            channel.basic_ack(tag)

    def cancel(self, count: int) -> None:
        """Let workers drain: no new message, but they keep the one they work on."""
        for channel, tag in self.channels[:count]:
            channel.basic_cancel(tag)

    def leave(self) -> None:
        self.connection.close()
