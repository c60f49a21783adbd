"""Queues under random load whose true counts are known, for a soak to compare with what is served.

Workers hold their messages until told to finish, so a queue with N messages and C workers of P
slots has U = min(N, P·C) unacked as soon as the broker has dealt them out.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

import pika
from pika.adapters.blocking_connection import BlockingChannel

__all__ = ["MOST_MESSAGES", "MOST_WORKERS", "SLOTS", "Account", "Driver", "Truth"]

SLOTS = 4
MOST_WORKERS, MOST_MESSAGES = 3, 20
PATIENCE_S = 240.0
# For all that a driver does to one of its queues; the last one makes way for a new queue.
CHANCES = {"publish": 40, "finish": 40, "join": 10, "leave": 8, "delete": 2}


class Truth(NamedTuple):
    """consumers is None while the queue does not exist."""

    messages: int = 0
    consumers: int | None = None

    @property
    def unacked(self) -> int:
        return min(self.messages, SLOTS * (self.consumers or 0))


@dataclass
class Account:
    """One queue's truth; times are unix seconds.

    settle_s: from the end of a change until the broker has dealt the messages out.
    """

    settle_s: float
    _truths: list[tuple[float, Truth]] = field(default_factory=lambda: [(0.0, Truth())])
    _unsettled: list[list[float]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @property
    def truth(self) -> Truth:
        return self._truths[-1][1]

    def becomes(self, truth: Truth) -> None:
        """Note the new truth; only within `changing`."""
        with self._lock:
            self._truths.append((time.time(), truth))

    @contextmanager
    def changing(self) -> Iterator[None]:
        span = [time.time(), float("inf")]
        with self._lock:
            self._unsettled.append(span)
        yield
        span[1] = time.time() + self.settle_s

    def known(self, start: float, end: float) -> Truth | None:
        """Return what held all through the span; None when it changed, or had not settled."""
        with self._lock:
            if any(began <= end and settled > start for began, settled in self._unsettled):
                return None
            return [truth for since, truth in self._truths if since <= start][-1]


@dataclass
class _Worker:
    channel: BlockingChannel
    held: list[int] = field(default_factory=list)


class Driver:
    """One connection that changes its queues at random, at most `rate` times a second, until halted.

    kinds: classic or quorum, by queue. accounts: the truth about each.
    """

    def __init__(
        self, url: str, kinds: Mapping[str, str], *, rate: float, settle_s: float, seed: int
    ) -> None:
        self._thread = Thread(target=self._run, name=f"driver-{seed}", daemon=True)
        self.accounts = {queue: Account(settle_s) for queue in kinds}
        self.changes = 0
        self._url, self._kinds, self._pause_s = url, dict(kinds), 1 / rate
        self._chance = random.Random(seed)
        self._workers: dict[str, list[_Worker]] = {queue: [] for queue in kinds}
        self._working, self._interrupted, self._halted = Event(), Event(), Event()
        self._failure: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._halted.is_set():
                if self._interrupted.is_set():
                    time.sleep(self._pause_s)
                else:
                    self._work_on_one_connection()
        except Exception as error:  # noqa: BLE001 -- raised again in whoever waits for this thread
            self._failure = error

    def wait(self) -> None:
        """Return when every queue has its workers. Raises AssertionError with the cause of a failure."""
        self._until(self._working.is_set, "its workers")

    def interrupt(self) -> None:
        """Take all workers away, so that the broker may go. Returns when they are gone."""
        self._interrupted.set()
        self._until(lambda: not self._working.is_set(), "the end of its workers")

    def resume(self) -> None:
        self._interrupted.clear()

    def halt(self) -> None:
        self._halted.set()
        self._thread.join(PATIENCE_S)

    def _until(self, check: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not check():
            if self._failure is not None or time.monotonic() > end:
                raise AssertionError(f"{self._thread.name}: never saw {what}") from self._failure
            time.sleep(0.05)

    def _work_on_one_connection(self) -> None:
        with (
            ExitStack() as outage,
            pika.BlockingConnection(pika.URLParameters(self._url)) as connection,
        ):
            for account in self.accounts.values():
                outage.enter_context(account.changing())
            self._connection = connection
            self._main = connection.channel()
            self._main.confirm_delivery()
            for queue in self._kinds:
                self._staff(queue)
            outage.close()
            self._working.set()
            while not self._interrupted.is_set() and not self._halted.is_set():
                connection.process_data_events(self._pause_s)  # pyright: ignore[reportArgumentType]
                self._change(self._chance.choice(list(self._kinds)))
            for account in self.accounts.values():
                outage.enter_context(account.changing())
            connection.close()
            for account in self.accounts.values():
                if account.truth.consumers:
                    account.becomes(account.truth._replace(consumers=0))
            outage.close()
        self._working.clear()

    def _staff(self, queue: str) -> None:
        if self.accounts[queue].truth.consumers is None:
            self._create(queue)
        wanted = max(1, len(self._workers[queue]))
        self._workers[queue].clear()
        for _ in range(wanted):
            self._join(queue)

    def _change(self, queue: str) -> None:
        messages, consumers = self.accounts[queue].truth
        [what] = self._chance.choices(list(CHANCES), list(CHANCES.values()))
        with self.accounts[queue].changing():
            if consumers is None:
                self._create(queue)
                self._join(queue)
            elif what == "publish" and messages < MOST_MESSAGES:
                self._publish(queue)
            elif what == "finish":
                self._finish(queue)
            elif what == "join" and consumers < MOST_WORKERS:
                self._join(queue)
            elif what == "leave" and consumers:
                self._leave(queue)
            elif what == "delete":
                self._delete(queue)
            else:
                return
        self.changes += 1

    def _create(self, queue: str) -> None:
        self._main.queue_declare(queue, durable=True, arguments={"x-queue-type": self._kinds[queue]})
        self.accounts[queue].becomes(Truth(messages=0, consumers=0))

    def _delete(self, queue: str) -> None:
        self._main.queue_delete(queue)
        for worker in self._workers[queue]:
            worker.channel.close()
        self._workers[queue].clear()
        self.accounts[queue].becomes(Truth())

    def _publish(self, queue: str) -> None:
        self._main.basic_publish("", queue, b"work", pika.BasicProperties(delivery_mode=2))
        self._count(queue, messages=+1)

    def _finish(self, queue: str) -> None:
        for worker in self._workers[queue]:
            if worker.held:
                worker.channel.basic_ack(worker.held.pop(0))
                self._count(queue, messages=-1)
                return

    def _join(self, queue: str) -> None:
        worker = _Worker(self._connection.channel())
        worker.channel.basic_qos(prefetch_count=SLOTS)

        def hold(_channel: BlockingChannel, method: Any, *_: object) -> None:
            worker.held.append(method.delivery_tag)

        worker.channel.basic_consume(queue, hold)
        self._workers[queue].append(worker)
        self._count(queue)

    def _leave(self, queue: str) -> None:
        self._workers[queue].pop().channel.close()
        self._count(queue)

    def _count(self, queue: str, *, messages: int = 0) -> None:
        before = self.accounts[queue].truth.messages
        self.accounts[queue].becomes(Truth(before + messages, len(self._workers[queue])))
