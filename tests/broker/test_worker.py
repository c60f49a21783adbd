"""The worker library against a real broker: what it promises to the fleet, clause by clause."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pika
import pytest

from lab.broker import ScratchBroker
from worker import Job, Settings, Worker

pytestmark = pytest.mark.broker

BASE_PORT = 23_620


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("broker"), BASE_PORT) as node:
        yield node


@pytest.fixture
def queue(broker, request) -> str:
    """A filter of the test's own, by name."""
    name = request.node.name.replace("_", "-")[5:45].strip("-")
    broker.declare([name])
    return name


def settings(broker: ScratchBroker, name: str, **more: Any) -> Settings:
    return Settings(filter=name, queue=f"filter.{name}", url=broker.amqp_url, name=name, **more)


def publish(broker: ScratchBroker, name: str, *bodies: bytes) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for body in bodies:
            properties = pika.BasicProperties(message_id=body.decode(), delivery_mode=2)
            channel.basic_publish("filters", name, body, properties, mandatory=True)


def counts(broker: ScratchBroker, queue: str) -> tuple[int, int]:
    """(ready, consumers), live."""
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        frame = connection.channel().queue_declare(queue, passive=True)
        return frame.method.message_count, frame.method.consumer_count


async def eventually(check: Callable[[], Any], what: str, patience_s: float = 30) -> Any:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if seen := await asyncio.to_thread(check):
            return seen
        await asyncio.sleep(0.05)
    raise AssertionError(f"never seen: {what}")


async def ended(running: "asyncio.Task[None]") -> None:
    await asyncio.wait_for(running, 30)


@asynccontextmanager
async def slow_link(url: str, *, delay_s: float) -> AsyncIterator[str]:
    """The URL of a way to the broker on which what the broker says takes `delay_s` longer."""
    broker = pika.URLParameters(url)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        while block := await reader.read(65536):
            loop.call_later(delay_s, writer.write, block)
        loop.call_later(delay_s, writer.close)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(broker.host, broker.port)
        await asyncio.gather(pass_on(reader, far_writer, 0), pass_on(far_reader, writer, delay_s))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield url.replace(f":{broker.port}/", f":{port}/")


def test_a_worker_is_ready_only_after_its_model_is_warm_and_the_broker_has_its_consumer(broker, queue):
    told: list[tuple[bool, int]] = []

    async def scene() -> None:
        warm = asyncio.Event()
        worker = Worker(
            lambda _job: None,
            settings(broker, queue),
            warm_up=warm.wait,
            on_ready=lambda ready: told.append((ready, counts(broker, f"filter.{queue}")[1])),
        )
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.5)
        assert told == []
        assert counts(broker, f"filter.{queue}")[1] == 0
        warm.set()
        await eventually(lambda: told, "readiness")
        worker.stop()
        await ended(running)

    asyncio.run(scene())
    assert told[0] == (True, 1)
    assert [ready for ready, _ in told] == [True, False]


def test_it_holds_as_many_messages_as_it_has_slots_and_acks_after_the_job(broker, queue):
    publish(broker, queue, b"1", b"2", b"3", b"4", b"5")

    async def scene() -> None:
        go, busy, done = asyncio.Event(), [], []

        async def work(job: Job) -> None:
            busy.append(job.message_id)
            await go.wait()

        worker = Worker(
            work,
            settings(broker, queue, slots=2),
            on_finished=lambda job, acked: done.append((job.message_id, acked)),
        )
        running = asyncio.create_task(worker.run())
        await eventually(lambda: len(busy) == 2, "two jobs")
        assert counts(broker, f"filter.{queue}")[0] == 3
        assert not done
        go.set()
        await eventually(lambda: len(done) == 5, "all jobs acked")
        worker.stop()
        await ended(running)
        assert sorted(done) == [(number, True) for number in "12345"]

    asyncio.run(scene())
    assert counts(broker, f"filter.{queue}") == (0, 0)


def test_at_a_stop_it_is_unready_at_once_finishes_and_nothing_is_delivered_twice(broker, queue):
    publish(broker, queue, b"1", b"2")
    seen: list[tuple[str, str, bool]] = []

    async def scene() -> None:
        async def slow(job: Job) -> None:
            seen.append(("first", job.message_id, job.redelivered))
            await asyncio.sleep(1)

        async def quick(job: Job) -> None:
            seen.append(("second", job.message_id, job.redelivered))

        one = Worker(slow, settings(broker, queue))
        running = asyncio.create_task(one.run())
        await eventually(lambda: seen, "the first job")
        one.stop()
        assert not one.ready
        await ended(running)
        two = Worker(quick, settings(broker, queue))
        running = asyncio.create_task(two.run())
        await eventually(lambda: len(seen) == 2, "the second job")
        two.stop()
        await ended(running)

    asyncio.run(scene())
    assert seen == [("first", "1", False), ("second", "2", False)]


def test_thirty_stops_right_behind_an_ack_send_no_message_back(broker, queue):
    """The moment in which the broker hands out the next message while the worker asks for no more."""
    publish(broker, queue, *(str(number).encode() for number in range(200)))
    seen: list[tuple[str, bool]] = []

    async def scene() -> None:
        for _ in range(30):
            acked = asyncio.Event()
            worker = Worker(
                lambda job: seen.append((job.message_id, job.redelivered)),
                settings(broker, queue),
                on_finished=lambda _job, _acked, told=acked: told.set(),
            )
            running = asyncio.create_task(worker.run())
            await acked.wait()
            worker.stop()
            await ended(running)

    asyncio.run(scene())
    assert len(seen) >= 30
    assert [redelivered for _, redelivered in seen] == [False] * len(seen)
    assert len({message for message, _ in seen}) == len(seen)
    # The broker takes a consumer off the books a moment after its connection.
    left = eventually(lambda: counts(broker, f"filter.{queue}") == (200 - len(seen), 0), "the rest waiting")
    asyncio.run(left)


def test_a_message_on_a_slow_link_is_worked_on_though_its_worker_was_stopped(broker, queue):
    seen: list[tuple[str, bool]] = []

    async def scene() -> None:
        async with slow_link(broker.amqp_url, delay_s=0.5) as url:
            worker = Worker(
                lambda job: seen.append((job.message_id, job.redelivered)),
                replace(settings(broker, queue), url=url),
            )
            running = asyncio.create_task(worker.run())
            await eventually(lambda: worker.ready, "readiness")
            await asyncio.sleep(0.5)
            await asyncio.to_thread(publish, broker, queue, b"on its way")
            await eventually(lambda: counts(broker, f"filter.{queue}")[0] == 0, "the message sent")
            assert seen == []
            worker.stop()
            await ended(running)

    asyncio.run(scene())
    assert seen == [("on its way", False)]
    assert counts(broker, f"filter.{queue}") == (0, 0)


def test_a_worker_that_dies_gives_its_message_to_another(broker, queue):
    publish(broker, queue, b"1")
    seen: list[bool] = []

    async def scene() -> None:
        async def work(job: Job) -> None:
            seen.append(job.redelivered)
            await asyncio.sleep(0 if job.redelivered else 60)

        dying = asyncio.create_task(Worker(work, settings(broker, queue)).run())
        await eventually(lambda: seen, "the job")
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        heir = Worker(work, settings(broker, queue))
        running = asyncio.create_task(heir.run())
        await eventually(lambda: len(seen) == 2, "the job again")
        heir.stop()
        await ended(running)

    asyncio.run(scene())
    assert seen == [False, True]
    assert counts(broker, f"filter.{queue}") == (0, 0)


def test_a_poison_message_ends_among_the_dead_letters(broker, queue):
    dead = counts(broker, "dead-letters")[0]
    publish(broker, queue, b"poison", b"good")
    attempts: list[int] = []
    good: list[str] = []

    async def scene() -> None:
        def work(job: Job) -> None:
            if job.body == b"poison":
                attempts.append(job.delivery_count)
                raise ValueError("no picture in it")
            good.append(job.message_id)

        worker = Worker(work, settings(broker, queue))
        running = asyncio.create_task(worker.run())
        await eventually(lambda: counts(broker, "dead-letters")[0] == dead + 1, "a dead letter")
        await eventually(lambda: good, "the good message")
        worker.stop()
        await ended(running)

    asyncio.run(scene())
    assert attempts == [0, 1, 2, 3, 4, 5]
    assert good == ["good"]


def test_the_highest_priority_works_first_and_the_lowest_only_takes_what_is_left(broker, queue):
    async def scene() -> list[str]:
        worked: list[str] = []

        def by(name: str) -> Callable[[Job], Any]:
            async def work(_job: Job) -> None:
                worked.append(name)

            return work

        cloud = Worker(by("cloud"), settings(broker, queue, priority=0))
        own = Worker(by("own"), settings(broker, queue, priority=10))
        running = [asyncio.create_task(cloud.run()), asyncio.create_task(own.run())]
        await eventually(lambda: cloud.ready and own.ready, "both ready")
        for number in range(10):
            await asyncio.to_thread(publish, broker, queue, str(number).encode())
            await asyncio.sleep(0.05)
        await eventually(lambda: len(worked) == 10, "all jobs")
        cloud.stop()
        own.stop()
        await asyncio.gather(*running)
        return worked

    assert set(asyncio.run(scene())) == {"own"}


def test_a_job_that_takes_longer_than_the_heartbeat_keeps_its_connection(broker, queue):
    publish(broker, queue, b"1")
    seen: list[bool] = []

    async def scene() -> None:
        done: list[bool] = []
        worker = Worker(
            lambda job: (seen.append(job.redelivered), time.sleep(5)),
            settings(broker, queue, heartbeat_s=2),
            on_finished=lambda _job, acked: done.append(acked),
        )
        running = asyncio.create_task(worker.run())
        await eventually(lambda: done, "the job done")
        worker.stop()
        await ended(running)
        assert done == [True]

    asyncio.run(scene())
    assert seen == [False]


def test_after_a_crash_of_the_broker_it_comes_back_and_is_ready_again(broker, queue):
    told: list[bool] = []
    done: list[str] = []

    async def scene() -> None:
        worker = Worker(
            lambda _job: None,
            settings(broker, queue),
            on_ready=told.append,
            on_finished=lambda job, _acked: done.append(job.message_id),
        )
        running = asyncio.create_task(worker.run())
        await eventually(lambda: told == [True], "readiness")
        # RabbitMQ 3.10 loses the only member of a quorum queue that is killed as it is made.
        await asyncio.sleep(5)
        await asyncio.to_thread(broker.kill)
        await eventually(lambda: told == [True, False], "un-Ready")
        await asyncio.to_thread(broker.start)
        await eventually(lambda: told == [True, False, True], "readiness again", 60)
        await asyncio.to_thread(publish, broker, queue, b"after")
        await eventually(lambda: done == ["after"], "a job after the crash")
        worker.stop()
        await ended(running)

    asyncio.run(scene())
