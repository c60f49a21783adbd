"""What every scene plays on: a scratch queue, the relay, the worker, and an eye on its probes."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from surge.contract.relay import Relay
from surge.contract.scratch import Scratch
from surge.contract.subject import Process, Subject
from surge.contract.wire import Delivery, Event, deliveries

__all__ = ["LONG_S", "Options", "Stage", "set_up"]

# A job of this length can be caught in the middle.
LONG_S = 0.3
PRIORITY = 7
LOOK_S = 0.03
PROBE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """url: of a broker on which a queue may be declared. message: a good job; poison: one that fails.

    job_s: seconds a good job takes, None when nobody says. ready_s: patience until Ready.
    grace_s: what the worker is told.
    """

    url: str
    slots: int = 2
    job_s: float | None = None
    ready_s: float = 120.0
    grace_s: int = 30
    message: bytes = b"surge worker check"
    poison: bytes = b""

    @property
    def long(self) -> bool:
        return self.job_s is not None and self.job_s >= LONG_S

    @property
    def patience_s(self) -> float:
        """For one more job to be done."""
        return 20 + 4 * (self.job_s or 0)


class Stage:
    """One worker on one queue. Times are the event loop's."""

    def __init__(self, options: Options, scratch: Scratch, relay: Relay, process: Process) -> None:
        self.options = options
        self.scratch = scratch
        self.relay = relay
        self.process = process

    @property
    def events(self) -> list[Event]:
        return self.relay.events

    def of(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if event.kind in kinds]

    def held(self) -> list[Delivery]:
        return [one for one in deliveries(self.events) if not one.answer]

    def acked(self) -> set[str]:
        return {one.message for one in deliveries(self.events) if one.answer == "ack"}

    @property
    def ready(self) -> bool:
        told = self.of("/readyz")
        return not self.process.over and bool(told) and told[-1].value == 200

    async def until(self, check: Callable[[], bool], patience_s: float) -> bool:
        """False when `check` stayed false, or the worker ended first."""
        end = asyncio.get_running_loop().time() + patience_s
        while not check():
            if self.process.over or asyncio.get_running_loop().time() > end:
                return check()
            await asyncio.sleep(LOOK_S)
        return True

    async def publish(self, *names: str) -> None:
        await asyncio.to_thread(self.scratch.publish, dict.fromkeys(names, self.options.message))

    async def poison(self, name: str) -> None:
        await asyncio.to_thread(self.scratch.publish, {name: self.options.poison})

    async def waiting(self) -> tuple[int, int]:
        return await asyncio.to_thread(self.scratch.waiting)

    async def consuming(self, times: int = 1) -> bool:
        """Whether the broker has confirmed a consumer, for the n-th time."""
        return await self.until(lambda: len(self.of("consume-ok")) >= times, self.options.ready_s)

    def why_not(self) -> str:
        """What the worker did instead of what was waited for."""
        if self.process.over:
            return self.process.end
        if closed := self.of("close"):
            return f"a connection or channel was closed: {closed[-1].value}"
        if not self.of("open-ok"):
            return "it opened no connection to the broker of SURGE_AMQP_URL_FILE"
        return f"it connected, and {'consumes' if self.of('consume-ok') else 'has no consumer'}"


@asynccontextmanager
async def set_up(
    subject: Subject, options: Options, *, backlog: int = 0, hold_s: float = 0
) -> AsyncIterator[Stage]:
    """Start the worker on a new queue that holds `backlog` messages; end and remove all of it."""
    scratch = Scratch(options.url)
    await asyncio.to_thread(scratch.declare)
    try:
        async with Relay(options.url) as relay:
            relay.hold_s = hold_s
            with tempfile.TemporaryDirectory(prefix="surge-worker-check-") as folder:
                port = _free_port()
                process = await Process.start(
                    subject, _environment(scratch.queue, options, port), _url_file(Path(folder), relay.url)
                )
                stage = Stage(options, scratch, relay, process)
                eye = asyncio.create_task(_watch(stage, port))
                try:
                    if backlog:
                        await stage.publish(*(f"job-{number}" for number in range(backlog)))
                    yield stage
                finally:
                    eye.cancel()
                    await process.kill()
    finally:
        await asyncio.to_thread(scratch.delete)


def _environment(queue: str, options: Options, port: int) -> dict[str, str]:
    return {
        "SURGE_FILTER": "check",
        "SURGE_QUEUE": queue,
        "SURGE_SLOTS": str(options.slots),
        "SURGE_PRIORITY": str(PRIORITY),
        "SURGE_GRACE_S": str(options.grace_s),
        "SURGE_PROBE_PORT": str(port),
    }


def _url_file(folder: Path, url: str) -> Path:
    broker = folder / "broker"
    broker.mkdir()
    path = broker / "url"
    path.write_text(url)
    # A container's user is not ours; the folder above lets only us in.
    path.chmod(0o644)
    return path


async def _watch(stage: Stage, port: int) -> None:
    """Note each change of what the probes say."""
    last: dict[str, int] = {}
    while True:
        for path in ("/readyz", "/healthz"):
            status = await _ask(port, path)
            if last.get(path) != status:
                last[path] = status
                stage.relay.note(path, status)
        await asyncio.sleep(LOOK_S)


async def _ask(port: int, path: str) -> int:
    """The status of an HTTP answer; 0 for none."""
    with suppress(OSError, ValueError, IndexError, TimeoutError):
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
            writer.close()
        return int(line.split()[1])
    return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
