"""The end of a shift, without a broker: what the worker does then is what it does at SIGTERM."""

import asyncio

import pytest

from worker import Settings, Worker
from worker.metrics import Tally
from worker.shift import shift

LONG_S = 3600.0


class Told:
    """A worker that only notes that it was stopped."""

    def __init__(self) -> None:
        self.tally = Tally("archive", 1)
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr("worker.shift.LOOK_S", 0.001)


def ends(worker: Told, seconds: float, idle_s: float) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await shift(worker, seconds, idle_s=idle_s)

    asyncio.run(run())


def goes_on(worker: Told, seconds: float, idle_s: float) -> None:
    """Not by the clock: it looks a hundred times, and stops nobody."""

    async def run() -> None:
        task = asyncio.create_task(shift(worker, seconds, idle_s=idle_s))
        for _ in range(100):
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(run())
    assert not worker.stopped


def test_an_empty_queue_ends_it_before_its_time():
    worker = Told()
    worker.tally.ready = True
    ends(worker, LONG_S, 0.01)
    assert worker.stopped


def test_its_time_ends_it_in_the_middle_of_work():
    worker = Told()
    worker.tally.ready, worker.tally.busy = True, 1
    ends(worker, 0.01, LONG_S)
    assert worker.stopped


def test_a_worker_at_work_is_not_idle():
    worker = Told()
    worker.tally.ready, worker.tally.busy = True, 1
    goes_on(worker, LONG_S, 0.01)


def test_the_warm_up_and_an_outage_of_the_broker_are_no_empty_queue():
    goes_on(Told(), LONG_S, 0.01)


def test_the_pod_says_how_long_its_shift_is(tmp_path):
    (tmp_path / "url").write_text("amqp://broker")
    told = {
        "SURGE_FILTER": "archive",
        "SURGE_QUEUE": "filter.archive",
        "SURGE_AMQP_URL_FILE": str(tmp_path / "url"),
    }
    assert Settings.from_environment(told).shift_s is None
    assert Settings.from_environment({**told, "SURGE_SHIFT_S": "540"}).shift_s == 540


def test_a_worker_whose_shift_is_over_ends_by_itself(monkeypatch):
    settings = Settings(
        filter="archive", queue="filter.archive", url="amqp://nowhere.invalid", shift_s=LONG_S
    )
    begun = []

    async def over_at_once(worker: Worker, seconds: float) -> None:
        begun.append(seconds)
        worker.stop()

    async def warm_up() -> None:
        await asyncio.sleep(LONG_S)

    monkeypatch.setattr("worker.consumer.shift", over_at_once)
    asyncio.run(asyncio.wait_for(Worker(lambda _job: None, settings, warm_up=warm_up).run(), 30))
    assert begun == [LONG_S]
