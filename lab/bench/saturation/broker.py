"""What it costs a broker to be read, and how old the numbers are that are read from it."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import aiohttp

from lab.bench import Row
from lab.bench.saturation import age
from lab.bench.saturation.crowd import NAMES, SAMPLE_S, STATISTICS_S, broker_cpu_s, consumers, sampling
from lab.broker import ScratchBroker

__all__ = ["run"]

BASE_PORT = 25_100
SETTLE_S, WATCHED_S, ROUNDS = 20.0, 12.0, 4
# Of RabbitMQ's own settings, for classic and for quorum queues.
USUAL_EMISSION_S = 5.0
# Both loops of KEDA ask for each queue: its own every 30 s, and the HPA's every 15 s.
GETS_PER_S = len(NAMES) * (1 / 30 + 1 / 15)


def run() -> list[Row]:
    with _crowded(USUAL_EMISSION_S) as (_, folder):
        usual = [round(_cpu_per_s(folder, _leave_alone), 4) for _ in range(ROUNDS)]
    with _crowded(STATISTICS_S) as (broker, folder):
        costs = [_costs(broker, folder) for _ in range(ROUNDS)]
        idle, ours, peer = (list(column) for column in zip(*costs, strict=True))
        return [
            _row("broker_emission_cpu_per_s", "s/s, read by nobody", idle, usual),
            _row("broker_cpu_per_s", "s/s above that", ours, peer),
            *age.run(broker),
        ]


def _row(name: str, unit: str, ours: list[float], peer: list[float]) -> Row:
    mine, theirs = (round(statistics.median(runs), 4) for runs in (ours, peer))
    return Row(name=name, unit=unit, ours=mine, peer=theirs, runs=ours)


@contextmanager
def _crowded(emission_s: float) -> Iterator[tuple[ScratchBroker, Path]]:
    """A broker whose queues all have a consumer, and its folder."""
    with (
        tempfile.TemporaryDirectory(prefix="surge-bench-") as name,
        ScratchBroker(Path(name), BASE_PORT, statistics_s=emission_s) as broker,
        consumers(broker),
    ):
        time.sleep(SETTLE_S)
        yield broker, Path(name)


def _costs(broker: ScratchBroker, folder: Path) -> tuple[float, float, float]:
    """CPU seconds of the broker per second: left alone; above that, read by ours, by KEDA's scaler."""
    before = _cpu_per_s(folder, _leave_alone)
    with sampling(broker, NAMES) as sampler:
        ours = _cpu_per_s(folder, _leave_alone)
        if len(list(sampler.snapshot.all_fresh(sampler.clock(), 2 * SAMPLE_S))) != len(NAMES):
            raise RuntimeError("not every filter is fresh: the figure would be of less work than it says")
    idle = (before + _cpu_per_s(folder, _leave_alone)) / 2
    peer = _cpu_per_s(folder, lambda: asyncio.run(_as_keda(broker)))
    return round(idle, 4), round(ours - idle, 4), round(peer - idle, 4)


def _leave_alone() -> None:
    time.sleep(WATCHED_S)


def _cpu_per_s(folder: Path, work: Callable[[], None]) -> float:
    began, before = time.monotonic(), broker_cpu_s(folder)
    work()
    return (broker_cpu_s(folder) - before) / (time.monotonic() - began)


async def _as_keda(broker: ScratchBroker) -> None:
    """One management GET per queue and reading, over kept connections, as KEDA's rabbitmq scaler does."""
    auth = aiohttp.encode_basic_auth("admin", broker.admin_password)
    urls: Iterator[str] = cycle([f"{broker.management_url}/api/queues/surge/filter.{name}" for name in NAMES])
    async with aiohttp.ClientSession(headers={"authorization": auth}) as session, asyncio.TaskGroup() as gets:
        due = time.monotonic()
        for _ in range(int(WATCHED_S * GETS_PER_S)):
            gets.create_task(_get(session, next(urls)))
            due += 1 / GETS_PER_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _get(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url) as answer:
        answer.raise_for_status()
        await answer.read()
