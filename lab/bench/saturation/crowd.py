"""1,200 queues of both types with a consumer each, on a real broker, and a sampler that reads them."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika

from lab.broker import ScratchBroker
from metrics_server import Config, FilterSpec, Sampler
from surge.model import Broker, Saturation
from surge.policy.demand import WINDOWS_S

__all__ = ["NAMES", "SAMPLE_S", "STATISTICS_S", "broker_cpu_s", "consumers", "sampling"]

NAMES = [f"effect-{number:04}" for number in range(1_200)]
# As the settings are shipped: an age has both of these times in it.
SAMPLE_S, STATISTICS_S = Saturation().sample_s, Broker().statistics_s
TICKS = os.sysconf("SC_CLK_TCK")


def kind(number: int) -> str:
    return ("classic", "quorum")[number % 2]


@contextmanager
def consumers(broker: ScratchBroker) -> Iterator[None]:
    """Make the queues; while the block runs each has an idle consumer."""
    with pika.BlockingConnection(pika.URLParameters(f"{broker.amqp_url}?heartbeat=0")) as connection:
        channel = connection.channel()
        for number, name in enumerate(NAMES):
            arguments = {"x-queue-type": kind(number)}
            channel.queue_declare(f"filter.{name}", durable=True, arguments=arguments)
            channel.basic_consume(f"filter.{name}", lambda *_: None)
        yield


@contextmanager
def sampling(broker: ScratchBroker, names: list[str]) -> Iterator[Sampler]:
    """A sampler that keeps these filters fresh while the block runs, in a thread of its own."""
    unused = Path("unused")
    nodes = (broker.prometheus_url,)
    sampler = Sampler(
        Config("127.0.0.1", 0, None, None, unused, nodes, "surge", SAMPLE_S, 20, WINDOWS_S, unused)
    )
    sampler.use({name: FilterSpec(name, f"filter.{name}", 1, 8, 60, 1.06) for name in names})
    loop = asyncio.new_event_loop()
    task = loop.create_task(sampler.run())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    try:
        yield sampler
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def broker_cpu_s(folder: Path) -> float:
    """CPU seconds so far of all processes whose home is below `folder`: the node and its helpers."""
    ticks = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and f"HOME={folder}".encode() in (process / "environ").read_bytes():
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            continue  # it ended meanwhile
    return ticks / TICKS
