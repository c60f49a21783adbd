"""Workers of several queues against a real broker: no more in hand than slots, fair, and nothing twice."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pika
import pytest

import worker.consumer
from lab.broker import ScratchBroker
from surge.policy.topology import bell
from tests.broker.saturation_server import Server
from tests.broker.test_worker import counts, ended, eventually, publish
from worker import Job, Settings, Worker

pytestmark = pytest.mark.broker

BASE_PORT = 23_760


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("broker"), BASE_PORT) as node:
        yield node


@pytest.fixture
def members(broker, request) -> list[str]:
    """Three filters in a set of the test's own."""
    name = request.node.name.replace("_", "-")[5:40].strip("-")
    filters = [f"{name}-{letter}" for letter in "abc"]
    broker.declare(filters, {name: filters})
    return filters


def set_of(members: Sequence[str]) -> str:
    return members[0].removesuffix("-a")


def settings(broker: ScratchBroker, members: Sequence[str], number: int = 0, **more: Any) -> Settings:
    name = set_of(members)
    return Settings(
        filter=name,
        queue=bell(name),
        members={member: f"filter.{member}" for member in members},
        url=broker.amqp_url,
        name=f"{name}-{number}",
        **more,
    )


def waiting(broker: ScratchBroker, members: Sequence[str]) -> int:
    return sum(counts(broker, f"filter.{member}")[0] for member in members)


def rings(broker: ScratchBroker, members: Sequence[str]) -> int:
    return counts(broker, bell(set_of(members)))[0]


def test_it_holds_as_many_messages_as_it_has_slots_however_many_queues_have_some(broker, members):
    for member in members:
        publish(broker, member, b"1", b"2", b"3")

    async def scene() -> None:
        go, busy, done = asyncio.Event(), [], []

        async def work(job: Job) -> None:
            busy.append(job)
            await go.wait()

        one = Worker(
            work, settings(broker, members, slots=2), on_finished=lambda _job, acked: done.append(acked)
        )
        running = asyncio.create_task(one.run())
        await eventually(lambda: len(busy) == 2, "two jobs")
        await asyncio.sleep(1)
        assert (len(busy), waiting(broker, members), rings(broker, members)) == (2, 7, 7)
        go.set()
        await eventually(lambda: len(done) == 9, "all jobs")
        one.stop()
        await ended(running)
        assert sorted(job.filter for job in busy) == sorted(3 * members)

    asyncio.run(scene())
    assert (waiting(broker, members), rings(broker, members)) == (0, 0)


def test_a_busy_member_does_not_keep_the_others_waiting(broker, members):
    publish(broker, members[0], *(str(number).encode() for number in range(30)))
    publish(broker, members[1], b"quiet")
    worked: list[str] = []

    async def scene() -> None:
        one = Worker(lambda job: worked.append(job.filter), settings(broker, members))
        running = asyncio.create_task(one.run())
        await eventually(lambda: len(worked) == 31, "all jobs")
        one.stop()
        await ended(running)

    asyncio.run(scene())
    assert members[1] in worked[:2]


def test_messages_of_one_member_go_to_all_idle_workers(broker, members):
    async def scene() -> set[str]:
        busy: set[str] = set()
        go = asyncio.Event()

        def by(name: str) -> Any:
            async def work(_job: Job) -> None:
                busy.add(name)
                await go.wait()

            return work

        workers = [Worker(by(f"{number}"), settings(broker, members, number)) for number in range(3)]
        running = [asyncio.create_task(each.run()) for each in workers]
        await eventually(lambda: all(each.ready for each in workers), "all ready")
        await asyncio.to_thread(publish, broker, members[2], b"1", b"2", b"3")
        await eventually(lambda: len(busy) == 3, "three busy workers")
        go.set()
        for each in workers:
            each.stop()
        await asyncio.gather(*running)
        return busy

    assert asyncio.run(scene()) == {"0", "1", "2"}


def test_workers_that_come_and_go_under_load_send_no_message_back_and_lose_none(broker, members):
    """Stops of every moment: before a ring, between a ring and its message, right behind an ack."""
    seen: list[tuple[str, str, bool]] = []

    async def scene() -> None:
        acked = 0

        def count(_job: Job, fine: bool) -> None:
            nonlocal acked
            acked += fine

        async def work(job: Job) -> None:
            seen.append((job.filter, job.message_id, job.redelivered))
            await asyncio.sleep(0.02)

        async def shift(number: int) -> None:
            """One worker after another, each for a little longer."""
            for turn in range(8):
                one = Worker(work, settings(broker, members, number, slots=2), on_finished=count)
                running = asyncio.create_task(one.run())
                await eventually(lambda now=one: now.ready, "readiness")
                await asyncio.sleep(0.013 * turn * number)
                one.stop()
                await ended(running)

        publishing = asyncio.gather(
            *(
                asyncio.to_thread(publish, broker, each, *(str(n).encode() for n in range(100)))
                for each in members
            )
        )
        await asyncio.gather(*(shift(number) for number in range(1, 4)))
        await publishing
        last = Worker(work, settings(broker, members, 9, slots=8), on_finished=count)
        running = asyncio.create_task(last.run())
        await eventually(lambda: acked == 300, "all jobs")
        last.stop()
        await ended(running)

    asyncio.run(scene())
    assert [redelivered for *_, redelivered in seen].count(True) == 0
    assert len(seen) == len({(name, message) for name, message, _ in seen}) == 300
    assert waiting(broker, members) == 0


def test_messages_that_nobody_rang_for_are_found_by_an_idle_worker(broker, members, monkeypatch):
    """Those which waited already when their filter became a member."""
    monkeypatch.setattr(worker.consumer, "PATROL_S", 0.2)
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        channel = connection.channel()
        for _ in range(5):
            channel.basic_publish("", f"filter.{members[1]}", b"old")
    seen: list[str] = []

    async def scene() -> None:
        one = Worker(lambda job: seen.append(job.filter), settings(broker, members))
        running = asyncio.create_task(one.run())
        await eventually(lambda: len(seen) == 5, "the old messages")
        one.stop()
        await ended(running)

    asyncio.run(scene())
    assert seen == 5 * [members[1]]
    assert (waiting(broker, members), rings(broker, members)) == (0, 0)


def test_a_ring_whose_message_is_gone_is_spent(broker, members):
    publish(broker, members[0], b"1", b"2")
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        connection.channel().queue_purge(f"filter.{members[0]}")
    seen: list[str] = []

    async def scene() -> None:
        one = Worker(lambda job: seen.append(job.message_id), settings(broker, members))
        running = asyncio.create_task(one.run())
        await eventually(lambda: one.ready and rings(broker, members) == 0, "no ring left")
        await asyncio.to_thread(publish, broker, members[1], b"new")
        await eventually(lambda: seen, "a job")
        one.stop()
        await ended(running)

    asyncio.run(scene())
    assert seen == ["new"]


def test_a_worker_that_dies_gives_message_and_ring_to_another(broker, members):
    publish(broker, members[0], b"1")
    seen: list[tuple[str, bool]] = []

    async def scene() -> None:
        async def work(job: Job) -> None:
            seen.append((job.filter, job.redelivered))
            await asyncio.sleep(0 if job.redelivered else 60)

        dying = asyncio.create_task(Worker(work, settings(broker, members)).run())
        await eventually(lambda: seen, "the job")
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        heir = Worker(work, settings(broker, members, 1))
        running = asyncio.create_task(heir.run())
        await eventually(lambda: len(seen) == 2, "the job again")
        heir.stop()
        await ended(running)

    asyncio.run(scene())
    assert seen == [(members[0], False), (members[0], True)]
    assert (waiting(broker, members), rings(broker, members)) == (0, 0)


def test_a_poison_message_ends_among_the_dead_letters_and_holds_up_no_other_member(broker, members):
    dead = counts(broker, "dead-letters")[0]
    publish(broker, members[0], b"poison")
    publish(broker, members[1], b"good")
    good: list[str] = []

    async def scene() -> None:
        def work(job: Job) -> None:
            if job.body == b"poison":
                raise ValueError("no picture in it")
            good.append(job.filter)

        one = Worker(work, settings(broker, members))
        running = asyncio.create_task(one.run())
        await eventually(lambda: counts(broker, "dead-letters")[0] == dead + 1, "a dead letter")
        await eventually(lambda: good, "the good message")
        await eventually(lambda: rings(broker, members) == 0, "no ring left")
        one.stop()
        await ended(running)

    asyncio.run(scene())
    assert good == [members[1]]


def test_the_saturation_server_counts_what_workers_of_a_set_hold_and_what_waits_for_them(
    broker, members, tmp_path
):
    name = set_of(members)
    server = Server(tmp_path, BASE_PORT + 10, broker.prometheus_url)
    law = {"slots": 2, "drain_s": 8, "beta": 1.06}
    server.use(*members, sets=[{"name": name, "queue": bell(name), "members": members, **law}])
    server.start()
    for member in members:
        publish(broker, member, b"1", b"2")

    async def scene() -> None:
        go = asyncio.Event()

        async def work(_job: Job) -> None:
            await go.wait()

        workers = [Worker(work, settings(broker, members, number, slots=2)) for number in range(2)]
        running = [asyncio.create_task(each.run()) for each in workers]
        shown = await asyncio.to_thread(server.shows, name, unacked=4, ready=2, consumers=2)
        assert shown["active_ratio"] == 1
        go.set()
        await asyncio.to_thread(server.shows, name, unacked=0, ready=0, consumers=2)
        for each in workers:
            each.stop()
        await asyncio.gather(*running)
        await asyncio.to_thread(server.shows, name, consumers=0)

    try:
        asyncio.run(scene())
    finally:
        server.stop()
