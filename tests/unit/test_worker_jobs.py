"""Keys, checkpoints, deadlines and hand-backs of jobs, without a broker."""

import asyncio
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pika.spec import Basic, BasicProperties

import worker.consumer
from worker import CheckpointError, HandBack, Job, Settings, Worker, key_of
from worker.checkpoints import Checkpoints
from worker.files import sweep
from worker.idempotency import FinishedFiles
from worker.session import LostError


def job(body: bytes = b"photo", message_id: str = "m1", **headers: object) -> Job:
    properties = BasicProperties(message_id=message_id or None, headers=headers or None)
    return Job.of(
        Basic.Deliver(delivery_tag=1, redelivered="x-delivery-count" in headers), properties, body, "f"
    )


def test_a_job_keeps_its_key_over_deliveries_and_jobs_without_an_id_differ_by_what_they_hold():
    assert job().key == job(**{"x-delivery-count": 3}).key == key_of("m1", {}, b"other body")
    assert job().key != job(message_id="m2").key
    bare = job(message_id="", style="ghibli")
    assert bare.key == job(message_id="", style="ghibli", **{"x-delivery-count": 1, "x-death": "..."}).key
    assert (
        len({bare.key, job(message_id="", style="noir").key, job(b"b", message_id="", style="ghibli").key})
        == 3
    )
    assert set(bare.key) <= set("0123456789abcdef")


def test_a_message_may_say_by_when_it_should_be_done():
    until = time.time() + 60
    assert 59 < job(**{"deadline-us": int(until * 1e6)}).left_s <= 60
    assert job(**{"deadline-us": "soon"}).deadline == job().deadline == math.inf


def test_a_checkpoint_is_the_last_one_saved_and_a_damaged_one_is_none(tmp_path):
    desk = Checkpoints(tmp_path / "checkpoints")
    assert desk.load("k") is None
    desk.save("k", b"half")
    desk.save("k", b"more")
    assert desk.load("k") == b"more"
    path = tmp_path / "checkpoints" / "k"
    path.write_bytes(path.read_bytes()[:-1])
    assert desk.load("k") is None
    desk.drop("k")
    desk.drop("k")
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    desk = Checkpoints(tmp_path)
    desk.save("k", b"half")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        desk.save("k", b"more")
    assert desk.load("k") == b"half"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_without_a_shared_volume_a_checkpoint_is_refused_by_name():
    with pytest.raises(CheckpointError, match="SURGE_SHARED is not set"):
        job().checkpoint(b"half")
    with pytest.raises(CheckpointError, match="SURGE_SHARED is not set"):
        job().resume()


def test_records_that_are_too_old_are_swept(tmp_path):
    done = FinishedFiles(tmp_path)
    done.add("old")
    done.add("new")
    os.utime(tmp_path / "old", (0, 0))
    sweep(tmp_path, keep_s=3600)
    assert (done.has("old"), done.has("new")) == (False, True)


class Deliveries:
    """A session that delivers `jobs`, and notes the answer to each by its tag."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = jobs
        self.answers: dict[int, str] = {}

    def __call__(self, _settings: Settings, deliver: Callable[[Job, int], None]) -> "Deliveries":
        self._deliver = deliver
        return self

    async def open(self) -> None:
        for tag, one in enumerate(self.jobs, 1):
            self._deliver(one, tag)

    async def wait_lost(self) -> None:
        await asyncio.Event().wait()

    async def cancel(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def ack(self, *tags: int) -> bool:
        return self._note(tags[0], "ack")

    async def refuse(self, *tags: int) -> bool:
        return self._note(tags[0], "reject")

    async def hand_back(self, *tags: int) -> bool:
        return self._note(tags[0], "nack")

    def _note(self, tag: int, answer: str) -> bool:
        self.answers[tag] = answer
        return True


def play(
    monkeypatch,
    session: Deliveries,
    handle: Callable[[Job], Any],
    settings: Settings,
    *,
    stop_after_s: float = 0.2,
) -> Worker:
    async def scene() -> Worker:
        one = Worker(handle, settings)
        asyncio.get_running_loop().call_later(stop_after_s, one.stop)
        await asyncio.wait_for(one.run(), 30)
        return one

    monkeypatch.setattr(worker.consumer, "Session", session)
    return asyncio.run(scene())


def settings(shared: Path | None, **more: Any) -> Settings:
    return Settings(filter="f", queue="filter.f", url="amqp://b", slots=4, shared=shared, **more)


def until_wanted(one: Job) -> None:
    """A batch job that runs until it is asked to stop."""
    one.resume()
    while not one.wanted_back:
        time.sleep(0.01)
    one.checkpoint(b"half")
    raise HandBack


def test_a_job_that_the_grace_is_too_short_for_is_handed_back_at_once_with_its_checkpoint(
    tmp_path, monkeypatch
):
    session = Deliveries(job())
    began = time.monotonic()
    done = play(monkeypatch, session, until_wanted, settings(tmp_path, grace_s=60, longest_job_s=3600))
    assert time.monotonic() - began < 30
    assert session.answers == {1: "nack"}
    assert done.tally.jobs["handed_back"] == 1
    assert Checkpoints(tmp_path / "checkpoints").load(job().key) == b"half"


def test_a_job_that_fits_the_grace_is_finished_and_asked_only_at_the_last_call(tmp_path, monkeypatch):
    asked: list[bool] = []

    def fits(one: Job) -> None:
        time.sleep(0.5)
        asked.append(one.wanted_back)
        if one.message_id == "long":
            until_wanted(one)

    session = Deliveries(job(message_id="short"), job(message_id="long"))
    done = play(monkeypatch, session, fits, settings(tmp_path, grace_s=4, longest_job_s=4))
    assert 'outcome="handed_back"} 1' in done.tally.text()
    assert (done.tally.draining_since or 0) > 0
    assert asked == [False, False]
    assert session.answers == {1: "ack", 2: "nack"}


def test_a_finished_job_leaves_no_checkpoint_and_is_not_done_again_when_it_comes_back(tmp_path, monkeypatch):
    ran: list[bytes | None] = []

    def work(one: Job) -> None:
        ran.append(one.resume())
        one.checkpoint(b"half")

    session = Deliveries(job())
    play(monkeypatch, session, work, settings(tmp_path))
    again = Deliveries(job(**{"x-delivery-count": 1}))
    done = play(monkeypatch, again, work, settings(tmp_path))
    assert ran == [None]
    assert session.answers == again.answers == {1: "ack"}
    assert (done.tally.jobs["repeated"], done.tally.jobs["done"]) == (1, 0)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_the_same_photo_sent_anew_is_done_anew(tmp_path, monkeypatch):
    ran: list[str] = []
    for _ in range(2):
        play(monkeypatch, Deliveries(job()), lambda one: ran.append(one.message_id), settings(tmp_path))
    assert ran == ["m1", "m1"]


def test_a_job_whose_record_cannot_be_written_is_acked_all_the_same(monkeypatch):
    class Full:
        def has(self, _key: str) -> bool:
            return False

        def add(self, _key: str) -> None:
            raise OSError(28, "No space left on device")

    async def scene() -> None:
        one = Worker(lambda _job: None, settings(None), finished=Full())
        asyncio.get_running_loop().call_later(0.2, one.stop)
        await one.run()

    session = Deliveries(job())
    monkeypatch.setattr(worker.consumer, "Session", session)
    asyncio.run(scene())
    assert session.answers == {1: "ack"}


def test_a_thread_whose_connection_is_lost_is_told_to_stop(tmp_path, monkeypatch):
    class Lost(Deliveries):
        async def wait_lost(self) -> None:
            await asyncio.sleep(0.2)
            raise LostError("cut")

    ended: list[str] = []

    def work(one: Job) -> None:
        try:
            until_wanted(one)
        finally:
            ended.append(one.message_id)

    session = Lost(job())
    play(monkeypatch, session, work, settings(tmp_path, grace_s=60, longest_job_s=1), stop_after_s=0.4)
    assert ended[:1] == ["m1"]
    assert session.answers == {}
