"""The worker library without a broker: its environment, its probes, its way back to a lost broker."""

import asyncio
import contextlib
import re
import socket
from pathlib import Path
from typing import Any

import pytest

import worker.consumer
from worker import Settings, SettingsError, Worker
from worker.metrics import Tally
from worker.probes import probes
from worker.session import LostError

ENVIRONMENT = {
    "SURGE_FILTER": "ghibli",
    "SURGE_QUEUE": "filter.ghibli",
    "SURGE_SLOTS": "2",
    "SURGE_PRIORITY": "10",
    "SURGE_GRACE_S": "90",
}


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    (tmp_path / "url").write_text("amqp://worker:secret@broker:5672/surge\n")
    return ENVIRONMENT | {"SURGE_AMQP_URL_FILE": str(tmp_path / "url")}


def test_settings_are_read_from_the_pod_and_the_url_from_its_file(environment):
    settings = Settings.from_environment(environment)
    assert (settings.filter, settings.queue) == ("ghibli", "filter.ghibli")
    assert (settings.slots, settings.priority, settings.grace_s) == (2, 10, 90)
    assert settings.url == "amqp://worker:secret@broker:5672/surge"


def test_a_pooled_worker_is_told_the_queue_of_each_member(environment):
    told = environment | {"SURGE_MEMBERS": "frame=filter.frame,wink=filter.wink.2"}
    assert Settings.from_environment(environment).members == {}
    assert Settings.from_environment(told).members == {"frame": "filter.frame", "wink": "filter.wink.2"}


def test_the_password_does_not_show_when_settings_are_printed(environment):
    assert "secret" not in repr(Settings.from_environment(environment))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"SURGE_FILTER": ""}, "SURGE_FILTER is not set"),
        ({"SURGE_SLOTS": "0"}, "SURGE_SLOTS is '0': want a whole number of at least 1"),
        ({"SURGE_SLOTS": "two"}, "SURGE_SLOTS is 'two'"),
        ({"SURGE_MEMBERS": "frame,wink"}, "SURGE_MEMBERS is 'frame,wink': want filters and queues"),
        ({"SURGE_PRIORITY": "-1"}, "SURGE_PRIORITY is '-1'"),
        ({"SURGE_AMQP_URL_FILE": "/nowhere/url"}, "/nowhere/url .* cannot be read: No such file"),
        ({"SURGE_AMQP_URL_FILE": "/dev/null"}, "holds no amqp:// or amqps:// URL"),
    ],
)
def test_an_unusable_environment_is_refused_by_name(environment, change, told):
    with pytest.raises(SettingsError, match=told):
        Settings.from_environment(environment | change)


def test_the_probe_is_unready_until_the_worker_is_ready():
    tally = Tally("ghibli", slots=2)

    async def asked(port: int, path: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.decode().splitlines()[0].partition(" ")[2]

    async def scene() -> None:
        async with await probes(0, tally) as server:
            # One socket per family, each with a port of its own when the kernel chooses.
            [listener] = [item for item in server.sockets if item.family == socket.AF_INET]
            port = listener.getsockname()[1]
            assert await asked(port, "/healthz") == "200 OK"
            assert await asked(port, "/readyz") == "503 Service Unavailable"
            tally.ready = True
            assert await asked(port, "/readyz") == "200 OK"
            assert await asked(port, "/metrics") == "200 OK"
            assert await asked(port, "/other") == "404 Not Found"

    asyncio.run(scene())


def test_waits_grow_while_the_broker_is_away_and_are_short_again_after_a_session(monkeypatch):
    """Opens: refused four times, then a session that is lost, then refused again."""
    course = iter([False, False, False, False, True, False])
    longest: list[float] = []

    class Flaky:
        def __init__(self, *_: Any) -> None:
            pass

        async def open(self) -> None:
            outcome = next(course, None)
            if outcome is None:
                one.stop()
            elif not outcome:
                raise LostError("refused")

        async def wait_lost(self) -> None:
            raise LostError("lost")

        async def cancel(self) -> None:
            pass

        async def close(self) -> None:
            pass

    def at_once(_least: float, most: float) -> float:
        longest.append(most)
        return 0

    monkeypatch.setattr(worker.consumer, "Session", Flaky)
    monkeypatch.setattr(worker.consumer.random, "uniform", at_once)
    told: list[bool] = []
    settings = Settings(filter="f", queue="filter.f", url="amqp://broker")
    one = Worker(lambda _job: None, settings, on_ready=told.append)
    asyncio.run(one.run())
    assert longest == [0.5, 1.0, 2.0, 4.0, 0.5, 1.0]
    assert told == [True, False]


def test_a_stop_during_the_warm_up_ends_the_worker_before_it_consumes(monkeypatch):
    monkeypatch.setattr(worker.consumer, "Session", None)

    async def scene() -> None:
        async def forever() -> None:
            await asyncio.Event().wait()

        one = Worker(lambda _job: None, Settings(filter="f", queue="q", url="amqp://b"), warm_up=forever)
        running = asyncio.create_task(one.run())
        await asyncio.sleep(0)
        one.stop()
        await asyncio.wait_for(running, 10)
        assert not one.ready

    asyncio.run(scene())


def test_a_warm_up_that_fails_ends_the_worker_with_its_error():
    def no_model() -> None:
        raise FileNotFoundError("model.safetensors")

    one = Worker(lambda _job: None, Settings(filter="f", queue="q", url="amqp://b"), warm_up=no_model)
    with pytest.raises(FileNotFoundError):
        asyncio.run(one.run())


def test_a_worker_that_dies_while_it_connects_leaves_no_connection_behind():
    async def scene() -> None:
        greeted, ended = asyncio.Event(), asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert (await reader.readexactly(8)).startswith(b"AMQP")
            greeted.set()
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            ended.set()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = Settings(filter="f", queue="q", url=f"amqp://a:b@127.0.0.1:{port}/surge")
            running = asyncio.create_task(Worker(lambda _job: None, settings).run())
            await asyncio.wait_for(greeted.wait(), 10)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await asyncio.wait_for(ended.wait(), 10)

    asyncio.run(scene())


def test_the_image_installs_the_same_hashed_packages_as_the_project():
    root = Path(__file__).parents[2]
    pinned = r"(?m)^\S+==\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+"
    image = re.findall(pinned, (root / "worker" / "requirements.txt").read_text())
    assert [line.partition("==")[0] for line in image] == ["pika", "structlog"]
    assert set(image) <= set(re.findall(pinned, (root / "requirements.txt").read_text()))
